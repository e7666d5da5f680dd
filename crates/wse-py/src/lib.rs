//! The Python face of the engine: convert, let go of the GIL, call [`wse_node`], convert back. Nothing is decided here.

mod answers;
mod arguments;
mod callbacks;
mod ending;
mod event;
mod events;
mod gc;
mod json_text;
mod load;
mod logging;
mod options;
mod position;
mod server;
mod tokens;

use pyo3::prelude::*;

/// Memory of bursts goes back to the system soon, also when one thread frees what another took.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    logging::install(module.py())?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<position::Position>()?;
    module.add("PublishTimeout", module.py().get_type::<position::PublishTimeout>())?;
    module.add_class::<server::RustWSEServer>()?;
    module.add_class::<load::LoadRun>()?;
    module.add_function(wrap_pyfunction!(event::json_text, module)?)?;
    tokens::register(module)
}
