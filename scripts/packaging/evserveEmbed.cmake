# evserve_embed(target folder name): files in memory of a folder, compiled into a target that links evserve.
#
#   add_executable(host host.c)
#   target_link_libraries(host PRIVATE evserve::evserve)
#   evserve_embed(host web ui)
#
#   #include "ui_assets.h"
#   const struct evs_mount mounts[] = {{.prefix = "/", .assets = ui_assets}, {.prefix = NULL}};
#
# The folder is relative to the current source folder. A file that is changed, added or removed is noticed by the next
# build. What of it is compressed, and what is left out, stands in embed.sh, which does the work.
function(evserve_embed)
    if(NOT ARGC EQUAL 3)
        message(FATAL_ERROR "evserve_embed: three arguments expected, TARGET FOLDER NAME, not ${ARGC}")
    endif()
    set(target "${ARGV0}")
    set(folder "${ARGV1}")
    set(name "${ARGV2}")
    get_filename_component(folder "${folder}" ABSOLUTE)
    if(NOT TARGET ${target})
        message(FATAL_ERROR "evserve_embed: ${target} is not a target")
    elseif(NOT IS_DIRECTORY "${folder}")
        message(FATAL_ERROR "evserve_embed: ${folder} is not a folder")
    elseif(NOT name MATCHES "^[A-Za-z_][A-Za-z0-9_]*$")
        message(FATAL_ERROR "evserve_embed: \"${name}\" is not a name in C: letters, digits and _, no digit first")
    endif()
    foreach(place . ..) # as installed, and in the source tree
        if(EXISTS "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${place}/embed.sh")
            get_filename_component(script "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${place}/embed.sh" ABSOLUTE)
        endif()
    endforeach()
    set(output "${CMAKE_CURRENT_BINARY_DIR}/evserve_embed/${target}")
    file(GLOB_RECURSE files LIST_DIRECTORIES false FOLLOW_SYMLINKS "${folder}/*")
    if(files MATCHES "[\"\\]") # CMake writes them as they are into what looks for new files
        message(FATAL_ERROR "evserve_embed: a name in ${folder} has a quote or a backslash, which CMake cannot watch")
    endif()
    if(NOT files)
        message(WARNING "evserve_embed: there is no file in ${folder}, so ${name}_assets is empty")
    endif()
    file(GLOB_RECURSE files LIST_DIRECTORIES false CONFIGURE_DEPENDS FOLLOW_SYMLINKS "${folder}/*")
    # A removed file is no news to a build tool, but the list is.
    string(REPLACE ";" "\n" list "${files}")
    file(CONFIGURE OUTPUT "${output}/${name}_files.txt" CONTENT "@list@\n" @ONLY)
    set(made "${output}/${name}_assets.c" "${output}/${name}_assets.h")
    add_custom_command(OUTPUT ${made}
        COMMAND sh "${script}" "${folder}" ${name} "${output}"
        DEPENDS "${script}" "${output}/${name}_files.txt" ${files}
        COMMENT "Embedding ${folder} as ${name}_assets"
        VERBATIM)
    get_property(languages GLOBAL PROPERTY ENABLED_LANGUAGES)
    if(NOT C IN_LIST languages)
        set_source_files_properties("${output}/${name}_assets.c" PROPERTIES LANGUAGE CXX)
    endif()
    # Alone: the assembler reads what it includes by itself, and macros of other files are not meant for it.
    set_source_files_properties("${output}/${name}_assets.c" PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
    target_sources(${target} PRIVATE ${made})
    target_include_directories(${target} PRIVATE "${output}")
endfunction()
