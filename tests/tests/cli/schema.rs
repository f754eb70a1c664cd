//! The schema by which editors check a recipe, judged by a validator that is not ours, beside piimg's own judgement.

use std::path::{Path, PathBuf};

use boon::{Compiler, SchemaIndex, Schemas};

use super::*;

struct Judge {
    schemas: Schemas,
    index: SchemaIndex,
    scratch: Scratch,
}

impl Judge {
    fn new() -> Self {
        let scratch = Scratch::new();
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("piimg.schema.json", json(&scratch, &["schema"])).unwrap();
        let index = compiler.compile("piimg.schema.json", &mut schemas).unwrap();
        Self { schemas, index, scratch }
    }

    /// What the schema says against a recipe, and what piimg says that is only of its form: `grant` reads it and no more.
    fn judge(&self, recipe: &str) -> (Option<String>, Option<String>) {
        let value: toml::Table = recipe.parse().unwrap_or_else(|error| panic!("{error}: {recipe}"));
        let value = serde_json::to_value(value).unwrap();
        let of_schema = self.schemas.validate(&value, self.index).err();
        self.scratch.write("piimg.toml", recipe);
        let ran = self.scratch.run(["grant"]);
        let is_refused = ran.stderr.starts_with("error: cannot use `piimg.toml`");
        (of_schema.map(|error| format!("{error:#}")), is_refused.then_some(ran.stderr))
    }
}

/// All examples in TOML of the documentation, with the file that has them.
fn examples() -> Vec<(PathBuf, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let docs = std::fs::read_dir(top.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut found =
        vec![(top.join("files/piimg.toml"), std::fs::read_to_string(top.join("files/piimg.toml")).unwrap())];
    for path in pages.chain([top.join("README.md")]) {
        let text = std::fs::read_to_string(&path).unwrap();
        for block in text.split("\n```toml").skip(1) {
            let (_, block) = block.split_once('\n').unwrap();
            found.push((path.clone(), block.split("\n```").next().unwrap().to_owned()));
        }
    }
    found
}

#[test]
fn each_recipe_of_the_documentation_is_valid() {
    let judge = Judge::new();
    let mut recipes = 0;
    for (path, text) in examples() {
        // The others are a plugin's manifest, a policy, a lock, the user's configuration.
        let (of_schema, of_piimg) = judge.judge(&text);
        assert_eq!(of_schema.is_some(), of_piimg.is_some(), "{}: {of_schema:?} {of_piimg:?}\n{text}", path.display());
        recipes += usize::from(of_schema.is_none());
    }
    assert!(recipes >= 6, "{recipes} recipes are too few: where are they?");
}

#[test]
fn it_refuses_what_piimg_refuses_to_read() {
    let judge = Judge::new();
    for (recipe, is_valid) in [
        ("", true),
        ("arch = 'armhf'\nstore = 'x'\n", true),
        ("include = ['a.toml']\n", true),
        ("[profile.dev]\npackages = ['gdb']\n", true),
        ("[profile.dev.user]\nname = 'ann'\n", true),
        ("[params.'a/b']\nx = 1\ny = 'z'\nz = true\n", true),
        ("hostnam = 'x'\n", false),
        ("hostname = 3\n", false),
        ("packages = 'htop'\n", false),
        ("source-date-epoch = -1\n", false),
        ("keep-mirror = 'yes'\n", false),
        ("[user]\nnam = 'ann'\n", false),
        ("[[repository]]\ntrusted = true\n", false),
        ("[limits]\nmemory = 3\n", false),
        ("[downloads]\nretries = 'many'\n", false),
        ("[profile.dev]\nhostnam = 'x'\n", false),
    ] {
        let (of_schema, of_piimg) = judge.judge(recipe);
        // A file that is included is not there: that is no matter of the form.
        assert_eq!(
            (of_schema.is_none(), of_piimg.is_none()),
            (is_valid, is_valid),
            "{recipe}: {of_schema:?} {of_piimg:?}"
        );
    }
    // Editors know the names, which piimg only looks at when it plans.
    for recipe in ["release = 'potato'\n", "models = ['pi9']\n", "output = ['iso']\n"] {
        assert!(judge.judge(recipe).0.is_some(), "{recipe}");
    }
}
