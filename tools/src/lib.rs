//! Tools around a store of larder: conversion between the caches of ccache, sccache and larder, and
//! looking into any of them. `larder` starts this program for the commands that need it, so that no
//! compile loads what they need.
//!
//! Data flows one way: [`command`] has one file per command, [`convert`] the work of the longest
//! one, [`place`] where entries stand, [`layout`] what they are called and consist of, [`entry`]
//! what all of them have in common. [`serve`] has
//! other programs use a store.

#![deny(missing_docs)]

pub mod command;
pub mod convert;
pub mod entry;
pub mod layout;
pub mod place;
pub mod serve;
