# What `cmake --install` gives, and `cpack` packs into a .deb. Included from the top CMakeLists.txt.
include(CMakePackageConfigHelpers)

# The libraries. Whoever links the static one links what it needs, too.
set(static_needs "")
set(static_dirs "")
if(EVSERVE_LUA)
    set(static_needs ${LUAJIT_STATIC_LIBRARIES})
    set(static_dirs ${LUAJIT_STATIC_LIBRARY_DIRS})
    list(REMOVE_ITEM static_dirs ${CMAKE_C_IMPLICIT_LINK_DIRECTORIES})
endif()
target_link_directories(evserve INTERFACE "$<INSTALL_INTERFACE:${static_dirs}>")
target_link_libraries(evserve INTERFACE "$<INSTALL_INTERFACE:${static_needs}>")
set(installed evserve evserve_reactor)
if(EVSERVE_SHARED)
    list(APPEND installed evserve_shared)
endif()
install(TARGETS ${installed} EXPORT evserveTargets)
install(FILES evserve.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
foreach(header reactor net write_buffer log mem sys) # core/README.md: what a program on the reactor uses
    install(FILES core/${header}.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/evserve/core)
endforeach()

# The CMake package.
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/evserve)
install(EXPORT evserveTargets NAMESPACE evserve:: DESTINATION ${package_dir})
configure_package_config_file(scripts/packaging/evserveConfig.cmake.in ${PROJECT_BINARY_DIR}/evserveConfig.cmake
    INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/evserveConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/evserveConfig.cmake ${PROJECT_BINARY_DIR}/evserveConfigVersion.cmake
    DESTINATION ${package_dir})

# pkg-config. Relative folders make it movable; absolute ones (distributions that set them) are taken as they are.
foreach(dir LIBDIR INCLUDEDIR)
    string(TOLOWER ${dir} name)
    if(IS_ABSOLUTE "${CMAKE_INSTALL_${dir}}")
        set(pc_${name} "${CMAKE_INSTALL_${dir}}")
    else()
        set(pc_${name} "\${prefix}/${CMAKE_INSTALL_${dir}}")
    endif()
endforeach()
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
    set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
else()
    file(RELATIVE_PATH up "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
    string(REGEX REPLACE "/$" "" up "${up}")
    set(pc_prefix "\${pcfiledir}/${up}")
endif()
list(TRANSFORM static_dirs PREPEND -L OUTPUT_VARIABLE pc_dirs)
list(TRANSFORM static_needs PREPEND -l OUTPUT_VARIABLE pc_libs)
list(JOIN pc_dirs " " pc_dirs)
list(JOIN pc_libs " " pc_libs)
set(pc_libs_private "-pthread ${pc_dirs} ${pc_libs}")
configure_file(scripts/packaging/evserve.pc.in ${PROJECT_BINARY_DIR}/evserve.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/evserve.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# The program and what is read.
if(EVSERVE_PROGRAM)
    install(TARGETS evserve_program)
    install(FILES scripts/man/evserve.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()
install(FILES scripts/man/evserve.3 DESTINATION ${CMAKE_INSTALL_MANDIR}/man3)
if(EVSERVE_LUA)
    install(FILES lua/meta/evserve.lua DESTINATION ${CMAKE_INSTALL_DATADIR}/evserve/meta)
    install(FILES lua/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME lua.md)
endif()
install(FILES README.md SECURITY.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)

# The Debian package: program, libraries and headers in one. dpkg-shlibdeps finds what the binaries need.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME evserve)
set(CPACK_PACKAGE_VENDOR "The evserve authors")
set(CPACK_PACKAGE_CONTACT "The evserve authors")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "HTTP/1.1 server to embed in C programs and to script in Lua")
set(CPACK_PACKAGE_DESCRIPTION "evserve serves files, C functions and Lua routes over HTTP/1.1 from one event loop.
This package has the program, the shared and the static library, the header,
and the event loop as a library of its own.")
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "${CPACK_PACKAGE_CONTACT}")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION httpd)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON) # with the calls of ldconfig
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "cmake | pkg-config, libluajit2-5.1-dev | libluajit-5.1-dev")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR})
include(CPack)
