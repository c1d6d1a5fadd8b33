# cmake -DNM=nm -DOBJECT=in.o -DOUTPUT=out.c -P hide.cmake: write a source that says of each global name of OBJECT that it
# is hidden. What it says holds once its object is joined with OBJECT: the stricter of two visibilities wins.
execute_process(COMMAND ${NM} --format=posix --extern-only --defined-only ${OBJECT}
    OUTPUT_VARIABLE listed RESULT_VARIABLE status)
string(REGEX REPLACE "\n" ";" lines "${listed}")
set(text "")
foreach(line ${lines})
    if(line MATCHES "^([A-Za-z_][A-Za-z0-9_]*) ")
        string(APPEND text "__asm__(\".hidden ${CMAKE_MATCH_1}\");\n")
    endif()
endforeach()
if(NOT status EQUAL 0 OR text STREQUAL "")
    message(FATAL_ERROR "${NM} finds no names in ${OBJECT}")
endif()
file(WRITE ${OUTPUT} "${text}")
