//! Nothing: the manifest beside this file only names what is fetched.
