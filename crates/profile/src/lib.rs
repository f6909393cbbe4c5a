//! The data model of a profile: strings, frames, stacks, samples, threads.
