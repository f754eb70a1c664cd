//! Makes the JSON schema of the recipe, by which editors complete and check it. The types that read a recipe are its source;
//! here is added what they leave to a plan: the names of releases, models and outputs.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::file::RecipeFile;
use super::layers::ALIASES;
use super::model::Model;
use super::output::OutputKind;
use super::release::Releases;
use crate::error::{Context as _, Failure, Result};

/// Returns the schema, of the draft that editors of TOML know: <https://taplo.tamasfe.dev/configuration/developing-schemas.html>.
///
/// # Errors
/// [`Failure::bug`] if it has another form than is expected here.
pub fn schema() -> Result<Value> {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<RecipeFile>();
    let mut schema = schema.to_value();
    let releases = Releases::builtin()?;
    let releases: Vec<&str> = releases.names().collect();
    let models: Vec<&str> = Model::ALL.into_iter().map(Model::name).collect();
    let outputs: Vec<&str> = OutputKind::ALL.iter().map(|(name, _)| *name).collect();
    without_null(&mut schema);
    place(&mut schema, "/properties/release")?["enum"] = json!(releases);
    place(&mut schema, "/properties/models/items")?["enum"] = json!(models);
    place(&mut schema, "/properties/output/items")?["enum"] = json!(outputs);
    for (alias, name) in ALIASES {
        let mut own = place(&mut schema, &format!("/properties/{name}"))?.clone();
        own["description"] = json!(format!("Another name of `{name}`."));
        place(&mut schema, "/properties")?[alias] = own;
    }
    Ok(schema)
}

/// Takes null out, which the types have and TOML has not.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.retain(|_, value| !value.is_null());
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|one| one != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            object.values_mut().for_each(without_null);
        }
        Value::Array(values) => values.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// Returns a part of the schema.
fn place<'a>(schema: &'a mut Value, path: &str) -> Result<&'a mut Value> {
    let missing = || Failure::bug(format!("the schema of a recipe has no `{path}`"));
    schema.pointer_mut(path).with_context(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_a_description() {
        fn check(path: &str, value: &Value) {
            for (name, property) in value["properties"].as_object().into_iter().flatten() {
                // That of a table stands at its definition.
                let is_said = ["description", "$ref", "allOf"].iter().any(|key| property.get(key).is_some());
                assert!(is_said, "{path}{name}: {property}");
            }
            for (name, definition) in value["definitions"].as_object().into_iter().flatten() {
                assert!(definition["description"].is_string(), "{name}");
                check(&format!("{name}."), definition);
            }
        }
        let schema = schema().unwrap();
        assert!(!schema.to_string().contains("null"), "{schema}");
        check("", &schema);
        for key in ["arch", "store", "rootfs-extra-space-mb", "repository", "profile"] {
            assert!(schema["properties"][key].is_object(), "{key}: {schema}");
        }
        assert_eq!(schema["additionalProperties"], json!(false));
    }
}
