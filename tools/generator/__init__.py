"""Makes Rust, Python and documentation from the declarations in spec/."""
