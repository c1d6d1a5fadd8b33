/* The host's own header, which has the name of one of ours. */
#define HOSTS_OWN_PARSER 1
