//! Wishes for package runs: in `conf()` an answer that its package is configured by, and a package to be gone; while it runs
//! an answer that parameters choose, and a package that asks for it.

use piimg_plugin_sdk::debconf::{self, Answer};
use piimg_plugin_sdk::{Kind, Param, Plugin, PluginConf, Result, apt, context, log, packages};

struct Prepares;

impl Plugin for Prepares {
    fn conf() -> PluginConf {
        PluginConf::new("test/prepares", "1.0.0", "Prepares")
            .answer(debconf::boolean("popularity-contest/participate", true))
            .pin(apt::pin_release("popularity-contest", "n=bookworm", 600))
            .package("popularity-contest")
            .remove_package("vim-tiny")
            .capability("debconf:man-db/*", "chooses while it runs")
            .capability("pkg:pin:man-db", "chooses while it runs")
            .capability("pkg:install:man-db", "what it chooses for")
            .param(Param::with_default("question", "What it answers; none: nothing", Kind::Text, &"none"))
            .param(Param::with_default("value", "With what", Kind::Text, &"true"))
            .param(Param::with_default("pin", "Which package it never wants; none: nothing", Kind::Text, &"none"))
            .param(Param::with_default("install", "What it installs then; none: nothing", Kind::Text, &"none"))
    }

    fn execute() -> Result {
        let named = |name: &str| Some(context::param(name).unwrap_or_default()).filter(|text| text != "none");
        if let Some(question) = named("question") {
            // Newlines cannot be typed into a parameter.
            let value = named("value").unwrap_or_default().replace("%0a", "\n");
            debconf::answer(&[Answer { value, ..debconf::string(&question, "") }])?;
        }
        if let Some(name) = named("pin") {
            apt::pin(&[apt::pin_version(&name.replace("%0a", "\n"), "*", -1)])?;
        }
        if let Some(name) = named("install") {
            packages::install(&[&name])?;
        }
        log::info!("there: {}", packages::query("vim-tiny")?.is_some());
        Ok(())
    }
}

piimg_plugin_sdk::plugin!(Prepares);
