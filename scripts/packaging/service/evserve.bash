# Completion of evserve(1) for bash. The program's own --help lists the options, so they are never out of date.

_evserve() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} option
    COMPREPLY=()
    if [[ $before == "=" ]]; then # bash takes --root=DIR apart at the equals sign
        before=${COMP_WORDS[COMP_CWORD - 2]}
    elif [[ $word == "=" ]]; then
        before=${COMP_WORDS[COMP_CWORD - 1]} word=
    fi
    case $before in
    --root | --acme)
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
        compopt -o filenames 2>/dev/null
        ;;
    --user)
        mapfile -t COMPREPLY < <(compgen -u -- "$word")
        ;;
    --access-log-format)
        mapfile -t COMPREPLY < <(compgen -W "combined json" -- "$word")
        ;;
    --log-format)
        mapfile -t COMPREPLY < <(compgen -W "text json journal" -- "$word")
        ;;
    --log-level)
        mapfile -t COMPREPLY < <(compgen -W "error warn info debug" -- "$word")
        ;;
    --listen | --reactors | --log-slow | --reload-timeout | --header | --body | --timeout | --hsts | --request) ;;
    *)
        if [[ $word == -* ]]; then
            option=$("$1" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u)
            mapfile -t COMPREPLY < <(compgen -W "$option" -- "$word")
        else
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            compopt -o filenames 2>/dev/null
        fi
        ;;
    esac
}

complete -F _evserve evserve
