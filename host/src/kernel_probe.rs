//! Tries, for `piimg doctor`, in the private namespace, what a build needs of the kernel.

use serde::{Deserialize, Serialize};

use crate::emulation;
use crate::error::{Context, Result};
use crate::home::Home;
use crate::recipe::host::HostPath;
use crate::sandbox::namespace::{self, Entry};
use crate::steps::{mount, unmount};
use crate::store::{self, Store};
use crate::ui::{Ui, Verbosity};

#[derive(Debug, Serialize, Deserialize)]
struct Job {
    verbosity: Verbosity,
}

/// Enters the namespace with `store`; returns the exit code of the inner process, which has said everything.
///
/// # Errors
/// A failure of the kind `Host` if the namespace cannot be made.
pub fn outside(store: &HostPath, ui: &Ui) -> Result<i32> {
    let ids = store::prepare(store, Home::of_user().as_ref())?;
    ui.data(&format!("✓ ids from {} on are the image's", ids.uid_base));
    let job = serde_json::to_vec(&Job { verbosity: ui.verbosity() }).context("cannot describe the job")?;
    namespace::run(&Entry { ids, role: "__probe", store: store.path(), files: Vec::new(), hidden: Vec::new() }, &job)
}

/// Implements `piimg __probe`.
///
/// # Errors
/// A failure of the kind `Host` that names what is not possible.
pub fn inside(arguments: &[String]) -> Result<()> {
    let job = namespace::enter(arguments)?;
    let job: Job = serde_json::from_slice(&job).context("cannot read the job")?;
    let ui = Ui::new(job.verbosity);
    ui.show_commands();
    ui.data("✓ user, mount, PID, IPC and UTS namespaces");
    let stage = Store::open()?.stage()?;
    let mounted = mount(&stage, &[])?;
    unmount(&stage, mounted)?;
    ui.data("✓ overlays in the store");
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    if emulation::mount_private() {
        ui.data(&format!("✓ a private binfmt_misc (Linux {kernel})"));
        return Ok(());
    }
    ui.data(&format!("- no private binfmt_misc (Linux {kernel}; 6.7 has it): images of another architecture are emulated, which is slow"));
    Ok(())
}
