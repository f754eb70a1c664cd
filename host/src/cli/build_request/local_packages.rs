//! Reads the files of packages that a recipe brings, and adds them to the plan.

use std::collections::BTreeMap;
use std::fs;

use sha2::{Digest as _, Sha256};

use crate::error::{Context as _, Failure, Result};
use crate::image::parsing;
use crate::recipe::host::{Admitted, HostPath};
use crate::recipe::local_package::LocalPackage;
use crate::recipe::overrides::Overrides;
use crate::recipe::package::is_file;
use crate::recipe::plan::Plan;
use crate::sandbox::parser::Parser;
use crate::ui::{Printable as _, printable};

/// Most files, each of which is open during the build.
const MOST: usize = 500;

/// Places of packages' files.
pub(super) struct Places {
    /// Files that are to be installed.
    files: Vec<HostPath>,
    /// Directories whose files may be.
    directories: Vec<HostPath>,
}

impl Places {
    /// Returns those of the recipe, and files that flags name.
    pub(super) fn new(admitted: &Admitted, flags: &Overrides) -> Self {
        let flagged = flags.packages.iter().filter(|text| is_file(text)).map(HostPath::named);
        Self {
            files: admitted.packages.iter().cloned().chain(flagged).collect(),
            directories: admitted.package_directories.clone(),
        }
    }

    /// Reads the packages and adds them to the plan. Returns the files, by their digests.
    ///
    /// # Errors
    /// [`Failure::usage`] that names the file, if one is no package that the image can have.
    pub(super) fn add_to(&self, plan: &mut Plan) -> Result<BTreeMap<String, HostPath>> {
        let mut all: Vec<(HostPath, bool)> = self.files.iter().map(|path| (path.clone(), true)).collect();
        for directory in &self.directories {
            let shown = || Failure::usage(format!("cannot use the packages in `{}`", directory.shown().printable()));
            all.extend(packages_in(directory).with_context(shown)?.into_iter().map(|path| (path, false)));
        }
        if all.len() > MOST {
            return Err(Failure::usage(format!("the recipe brings {} packages; {MOST} are the most", all.len()))
                .hint("make an archive of them, and sign it: [[repository]] with `url`")
                .into());
        }
        let mut files = BTreeMap::new();
        for (path, is_named) in all {
            let shown = path.shown().printable();
            let failed = || Failure::usage(format!("cannot use the package `{shown}`"));
            let package = read(&path).and_then(|package| fits(plan, package, is_named)).with_context(failed)?;
            files.entry(package.digest.clone()).or_insert(path);
            let spec = package.spec(&plan.architecture).to_string();
            if is_named && !plan.packages.contains(&spec) {
                plan.packages.push(spec);
            }
            if !plan.local_packages.contains(&package) {
                plan.local_packages.push(package);
            }
        }
        Ok(files)
    }
}

/// Returns the files of packages in a directory, by name.
fn packages_in(directory: &HostPath) -> Result<Vec<HostPath>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory.path())? {
        let name = entry?.file_name();
        let Some(name) = name.to_str().filter(|name| name.ends_with(".deb")) else { continue };
        names.push(name.to_owned());
    }
    anyhow::ensure!(!names.is_empty(), "there is no file `*.deb` in it");
    names.sort();
    Ok(names.iter().map(|name| directory.below(name)).collect())
}

/// Reads one file.
fn read(path: &HostPath) -> Result<LocalPackage> {
    // Before it is opened: to open a pipe is to wait for somebody at its other end.
    anyhow::ensure!(fs::metadata(path.path())?.is_file(), "it is no file");
    let mut file = path.open()?;
    let mut hash = Sha256::new();
    let size = std::io::copy(&mut file, &mut hash)?;
    let control = parsing::control_file(&Parser::default(), &path.open()?)?;
    let digest = hex::encode(hash.finalize());
    LocalPackage::parse(&control, &digest, size, &path.shown().printable()).map_err(anyhow::Error::msg)
}

/// Checks that an image of the plan can have the package, beside the others.
fn fits(plan: &Plan, package: LocalPackage, is_named: bool) -> Result<LocalPackage> {
    let LocalPackage { name, version, architecture, .. } = &package;
    let architectures = plan.release.architectures_of(&plan.architecture);
    anyhow::ensure!(
        architecture == "all" || architectures.contains(architecture),
        "it is for {architecture}, and the image has packages for {}",
        architectures.join(" and ")
    );
    let same = |other: &&LocalPackage| other.id() == package.id() && other.version == *version;
    if let Some(other) = plan.local_packages.iter().find(same) {
        let is_it = other.digest == package.digest;
        anyhow::ensure!(is_it, "`{}` is another file of {name} {version} for {architecture}", other.shown);
        return Ok(other.clone());
    }
    if is_named {
        let of_plugins = plan.plugins.iter().map(|plugin| (format!("the plugin `{}`", plugin.id), &plugin.removals));
        let mut removals = std::iter::once(("the recipe".to_owned(), &plan.removals)).chain(of_plugins);
        if let Some((who, _)) = removals.find(|(_, names)| names.contains(name)) {
            anyhow::bail!("{} removes `{name}`", printable(&who));
        }
    }
    Ok(package)
}
