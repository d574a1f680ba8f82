//! Takes what the page at `/docs` needs out of the vendored Swagger UI, compressed as browsers take it.

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{self, Cursor};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

/// The rest of the distribution holds the same again for other ways to load it, three times as much.
const FILES: [&str; 2] = ["swagger-ui.css", "swagger-ui-bundle.js"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    let folder = env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?;
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    // All lies in a folder that is named by the version.
    let top = archive.by_index(0)?.name()?.into_owned();
    for file in FILES {
        let mut plain = archive.by_name(&format!("{top}dist/{file}"))?;
        let compressed = File::create(Path::new(&folder).join(format!("{file}.gz")))?;
        let mut compressed = GzEncoder::new(compressed, Compression::best());
        io::copy(&mut plain, &mut compressed)?;
        compressed.finish()?;
    }
    Ok(())
}
