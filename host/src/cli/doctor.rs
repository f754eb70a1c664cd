//! Implements `piimg doctor`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;

use super::build_request::programs::{missing_programs, programs};
use super::build_request::{environment, key_rings};
use crate::emulation;
use crate::error::{Failure, Result};
use crate::image::boot;
use crate::kernel_probe;
use crate::recipe::file::RecipeFile;
use crate::recipe::host::{Admitted, HostPath};
use crate::recipe::overrides::Overrides;
use crate::recipe::plan::{Plan, plan};
use crate::recipe::release::Releases;
use crate::sandbox::tool;
use crate::steps::compare_emulation;
use crate::ui::{Printable as _, Ui};

/// Architectures of images: doctor does not know which one will be built.
const ARCHITECTURES: [&str; 2] = ["arm64", "armhf"];

/// Say what this machine can build, or whether native tools leave an image as it would be without them.
#[derive(Debug, Args)]
#[command(after_help = "Example: piimg doctor --store /var/cache/piimg")]
pub(super) struct Arguments {
    /// Bootstrap with native tools and under plain emulation, and compare the trees; takes long.
    #[arg(long)]
    compare_emulation: bool,
    /// Release to compare.
    #[arg(long, requires = "compare_emulation")]
    release: Option<String>,
    /// Architecture to compare, as Debian calls it.
    #[arg(long, visible_alias = "architecture", requires = "compare_emulation")]
    arch: Option<String>,
    /// Compare this package instead of the release's own; may be repeated.
    #[arg(long = "package", value_name = "NAME", requires = "compare_emulation")]
    packages: Vec<String>,
    /// Mirror to take packages from, of the release's own repository or of the one named; may be repeated.
    #[arg(long = "mirror", value_name = "[NAME=]URL", requires = "compare_emulation")]
    mirrors: Vec<String>,
    /// Key ring of a repository; may be repeated.
    #[arg(long = "keyring", value_name = "NAME=FILE[#KEY]", requires = "compare_emulation")]
    keyrings: Vec<String>,
    /// Directory of layers and packages.
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Print the comparison as JSON.
    #[arg(long, requires = "compare_emulation")]
    json: bool,
}

pub(super) fn run(arguments: Arguments, ui: &Ui) -> Result<i32> {
    if !arguments.compare_emulation {
        return host(arguments.store, ui);
    }
    let (json, packages) = (arguments.json, arguments.packages.clone());
    let plan = compared(arguments)?;
    let emulator = emulation::emulator(&plan.architecture)?
        .ok_or_else(|| Failure::usage(format!("this machine runs {} programs by itself", plan.architecture)))?;
    if let Some(failure) = missing_programs(&["mmdebstrap", "gpg", emulator]) {
        return Err(failure.into());
    }
    let packages = (!packages.is_empty()).then_some(packages);
    let rings = key_rings(&plan)?;
    compare_emulation::outside(&compare_emulation::Job { plan, rings, packages, json, verbosity: ui.verbosity() })
}

/// Returns the plan of an image with nothing added.
fn compared(arguments: Arguments) -> Result<Plan> {
    let own_packages = arguments.packages.is_empty();
    let named = arguments.store.is_some();
    let architecture = arguments.arch.clone();
    let overrides = Overrides {
        release: arguments.release,
        // A suite has more architectures than the release has images.
        architecture: architecture.clone().filter(|_| own_packages),
        mirrors: arguments.mirrors,
        keyrings: arguments.keyrings,
        store: arguments.store,
        packages: arguments.packages,
        ..Overrides::default()
    };
    let mut plan = plan(
        &RecipeFile::default(),
        Admitted::default(),
        &overrides,
        &[],
        &Releases::builtin()?,
        &environment(named)?,
    )?;
    plan.architecture = architecture.unwrap_or(plan.architecture);
    Ok(plan)
}

/// Tries everything that a build needs of this machine.
fn host(store: Option<PathBuf>, ui: &Ui) -> Result<i32> {
    let mut needed: Vec<&str> = ARCHITECTURES.map(programs).into_iter().collect::<Result<Vec<_>>>()?.concat();
    let mut seen = BTreeSet::new();
    needed.retain(|program| seen.insert(*program));
    if let Some(failure) = missing_programs(&needed) {
        return Err(failure.into());
    }
    ui.data(&format!("✓ the programs that a build starts: {}", needed.join(", ")));
    ui.data(&match boot::available() {
        true => format!("✓ the emulator of `piimg boot`: {}", boot::QEMU),
        false => {
            let package = tool::package_of(boot::QEMU).unwrap_or(boot::QEMU);
            format!("- no emulator for `piimg boot`, which builds do without: sudo apt-get install {package}")
        }
    });
    let environment = environment(store.is_some())?;
    let store = HostPath::named(store.unwrap_or(environment.default_store));
    let code = kernel_probe::outside(&store, ui)?;
    if code == 0 {
        ui.data(&format!("✓ the store {}", store.shown().printable()));
    }
    Ok(code)
}
