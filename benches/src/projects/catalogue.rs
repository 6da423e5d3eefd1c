//! Which projects, and how each is built.

/// A project as Debian's source package has it.
#[derive(Clone, Copy, Debug)]
pub struct Project {
    /// Its name, of which the folder of its sources begins, with a hyphen behind it.
    pub name: &'static str,
    /// What is told of it.
    pub what: &'static str,
    /// Programs that are needed beside compilers.
    pub needs: &'static [&'static str],
    /// Variables of the build, in which `{tree}` stands for the folder. As in Debian's builds, no
    /// object names it, so that a second checkout makes the same ones.
    pub environment: &'static [(&'static str, &'static str)],
    /// A file that is written into the tree first: its name and its text.
    pub extra: Option<(&'static str, &'static str)>,
    /// Commands that prepare the build.
    pub configure: &'static [&'static [&'static str]],
    /// The command that builds.
    pub build: &'static [&'static str],
    /// A header that is changed for the third build.
    pub changed: &'static str,
}

/// All of them.
pub const PROJECTS: &[Project] = &[
    Project {
        name: "redis",
        what: "C, gcc, make, -g",
        needs: &["make"],
        environment: &[("CC", "gcc"), ("REDIS_CFLAGS", "-ffile-prefix-map={tree}=.")],
        extra: None,
        configure: &[],
        build: &["make", "-j2", "MALLOC=libc"],
        changed: "src/sds.h",
    },
    Project {
        name: "fmtlib",
        what: "C++, g++, CMake and Ninja, precompiled header",
        needs: &["cmake", "ninja"],
        environment: &[("CC", "gcc"), ("CXX", "g++"), ("CXXFLAGS", "-ffile-prefix-map={tree}=.")],
        extra: Some((
            "precompile.cmake",
            "cmake_language(DEFER CALL target_precompile_headers fmt PRIVATE <vector> <string>)\n",
        )),
        configure: &[&[
            "cmake",
            "-G",
            "Ninja",
            "-S",
            ".",
            "-B",
            "out",
            "-DCMAKE_BUILD_TYPE=Release",
            "-DFMT_TEST=OFF",
            "-DCMAKE_PROJECT_FMT_INCLUDE=precompile.cmake",
        ]],
        build: &["ninja", "-j2", "-C", "out"],
        changed: "include/fmt/format.h",
    },
    Project {
        name: "leveldb",
        what: "C++, clang++, CMake and Ninja, --coverage",
        needs: &["cmake", "ninja", "clang++"],
        environment: &[
            ("CC", "clang"),
            ("CXX", "clang++"),
            ("CXXFLAGS", "--coverage -ffile-prefix-map={tree}=."),
        ],
        extra: None,
        configure: &[&[
            "cmake",
            "-G",
            "Ninja",
            "-S",
            ".",
            "-B",
            "out",
            "-DCMAKE_BUILD_TYPE=Debug",
            "-DLEVELDB_BUILD_TESTS=OFF",
            "-DLEVELDB_BUILD_BENCHMARKS=OFF",
        ]],
        build: &["ninja", "-j2", "-C", "out"],
        changed: "include/leveldb/slice.h",
    },
    Project {
        name: "xz",
        what: "C, gcc, autotools and libtool, -g",
        needs: &["make"],
        environment: &[("CC", "gcc"), ("CFLAGS", "-g -O2 -ffile-prefix-map={tree}=.")],
        extra: None,
        configure: &[&["./configure", "--disable-nls", "--disable-doc"]],
        build: &["make", "-j2"],
        changed: "src/common/tuklib_integer.h",
    },
    Project {
        name: "pixman",
        what: "C, gcc, Meson, split dwarf",
        needs: &["meson", "ninja"],
        environment: &[("CC", "gcc"), ("CFLAGS", "-g -gsplit-dwarf -ffile-prefix-map={tree}=.")],
        extra: None,
        configure: &[&["meson", "setup", "out", "-Dgtk=disabled", "-Dlibpng=disabled"]],
        build: &["ninja", "-j2", "-C", "out"],
        changed: "pixman/pixman-private.h",
    },
    Project {
        name: "zlib",
        what: "C, clang, make, assertions on",
        needs: &["make", "clang"],
        environment: &[
            ("CC", "clang"),
            ("CFLAGS", "-O3 -g -DZLIB_DEBUG -ffile-prefix-map={tree}=."),
        ],
        extra: None,
        configure: &[&["./configure"]],
        build: &["make", "-j2"],
        changed: "zutil.h",
    },
];
