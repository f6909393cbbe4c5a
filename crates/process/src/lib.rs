//! One Linux process seen from outside: memory, mappings, threads, stops, namespaces.
