//! Projects that are linked, and changes of them.
//!
//! The last call links a program or a shared library from objects, archives and shared libraries
//! that the calls before it make; libraries of the same name stand in several directories.

mod mutate;
pub(super) mod project;
