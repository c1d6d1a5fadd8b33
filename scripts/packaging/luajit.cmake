# What LuaJIT has to be, and EVSERVE_LUAJIT_PRIVATE. Included from the top CMakeLists.txt, where PkgConfig::LUAJIT is found.

# A LuaJIT without GC64 takes no memory from us on a machine of 64 bits, so that lua_memory could not be kept. If the
# program cannot be run here, evserve_start() says it.
if(NOT CMAKE_CROSSCOMPILING AND NOT DEFINED EVSERVE_LUAJIT_VERDICT)
    file(WRITE ${PROJECT_BINARY_DIR}/generated/check_luajit.c [[
#include <lua.h>
#include <stdlib.h>
static int calls;
static void *allocate(void *arg, void *block, size_t old_size, size_t size)
{
    (void)arg, (void)block, (void)old_size, (void)size;
    calls++;
    return NULL;
}
int main(void)
{
    lua_newstate(allocate, NULL);
    return calls > 0 ? 0 : 64;
}
]])
    try_run(EVSERVE_LUAJIT_VERDICT luajit_compiles
        ${PROJECT_BINARY_DIR}/CMakeFiles/check_luajit ${PROJECT_BINARY_DIR}/generated/check_luajit.c
        CMAKE_FLAGS "-DINCLUDE_DIRECTORIES=${LUAJIT_INCLUDE_DIRS}" "-DLINK_DIRECTORIES=${LUAJIT_LIBRARY_DIRS}"
        LINK_LIBRARIES PkgConfig::LUAJIT)
endif()
if(EVSERVE_LUAJIT_VERDICT EQUAL 64)
    message(FATAL_ERROR "LuaJIT ${LUAJIT_VERSION} in ${LUAJIT_LIBDIR} was built without GC64, so it takes no memory from evserve: "
        "build it with XCFLAGS=-DLUAJIT_ENABLE_GC64, or take a version of 2022 or later (or set EVSERVE_LUA=OFF)")
endif()

# The archive joined into our libraries, its names local to them. Into a shared library goes only what was compiled for
# one, which the archives of distributions are not.
set(luajit_archive "")
if(EVSERVE_LUAJIT_PRIVATE)
    find_library(EVSERVE_LUAJIT_ARCHIVE NAMES libluajit-5.1.a libluajit.a HINTS ${LUAJIT_LIBRARY_DIRS} ${LUAJIT_LIBDIR})
    if(NOT EVSERVE_LUAJIT_ARCHIVE)
        message(FATAL_ERROR "EVSERVE_LUAJIT_PRIVATE wants LuaJIT's archive: set EVSERVE_LUAJIT_ARCHIVE to its libluajit.a")
    endif()
    if(EVSERVE_TESTS)
        message(FATAL_ERROR "EVSERVE_LUAJIT_PRIVATE: the tests use lua_init and the shared LuaJIT; set EVSERVE_TESTS=OFF")
    endif()
    if(EVSERVE_SHARED)
        file(WRITE ${PROJECT_BINARY_DIR}/generated/check_pic.c "int lua_gc(void *, int, int);\nint check(void);\n"
            "int check(void)\n{\n    return lua_gc(0, 0, 0);\n}\n")
        execute_process(COMMAND ${CMAKE_C_COMPILER} -shared -fPIC -o ${PROJECT_BINARY_DIR}/generated/check_pic.so
            ${PROJECT_BINARY_DIR}/generated/check_pic.c ${EVSERVE_LUAJIT_ARCHIVE} RESULT_VARIABLE status
            OUTPUT_QUIET ERROR_QUIET)
        if(NOT status EQUAL 0)
            message(FATAL_ERROR "${EVSERVE_LUAJIT_ARCHIVE} cannot go into a shared library: build LuaJIT with "
                "BUILDMODE=static XCFLAGS=-fPIC, or set EVSERVE_SHARED=OFF")
        endif()
    endif()
    set(luajit_archive ${EVSERVE_LUAJIT_ARCHIVE})
    add_library(evserve_luajit INTERFACE)
    target_include_directories(evserve_luajit INTERFACE ${LUAJIT_INCLUDE_DIRS})
    target_link_libraries(evserve_luajit INTERFACE ${luajit_archive} m dl)
    set(EVSERVE_LUAJIT evserve_luajit)
endif()
