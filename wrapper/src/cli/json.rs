//! Writing JSON: objects and lists of what a command has to say to programs.
//!
//! The same text for the same values, fields in the order in which they were added, two spaces of
//! indentation for the outermost object only: a list has one item on each line.

use std::fmt::Write;

/// A text with quotes around it.
pub fn string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control < ' ' => {
                // Writing to a string cannot fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// An object under construction.
#[derive(Default)]
pub struct Object {
    fields: Vec<String>,
}

impl Object {
    /// An object without fields.
    pub fn new() -> Object {
        Object::default()
    }

    fn add(mut self, name: &str, value: &str) -> Object {
        self.fields.push(format!("{}: {value}", string(name)));
        self
    }

    /// The same with a text.
    pub fn text(self, name: &str, value: &str) -> Object {
        self.add(name, &string(value))
    }

    /// The same with a text, if there is one.
    pub fn maybe_text(self, name: &str, value: Option<&str>) -> Object {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// The same with a number.
    pub fn number(self, name: &str, value: u64) -> Object {
        self.add(name, &value.to_string())
    }

    /// The same with a number, if there is one.
    pub fn maybe_number(self, name: &str, value: Option<u64>) -> Object {
        match value {
            Some(value) => self.number(name, value),
            None => self,
        }
    }

    /// The same with a truth value.
    pub fn switch(self, name: &str, value: bool) -> Object {
        self.add(name, if value { "true" } else { "false" })
    }

    /// The same with a list of objects, each on a line.
    pub fn list(self, name: &str, items: impl IntoIterator<Item = Object>) -> Object {
        let items: Vec<String> =
            items.into_iter().map(|item| format!("\n    {}", item.line())).collect();
        let end = if items.is_empty() { "" } else { "\n  " };
        self.add(name, &format!("[{}{end}]", items.join(",")))
    }

    /// The same with a value that is JSON already.
    pub fn raw(self, name: &str, value: &str) -> Object {
        self.add(name, value)
    }

    /// The object on one line.
    pub fn line(&self) -> String {
        format!("{{{}}}", self.fields.join(", "))
    }

    /// The object with a line for each field.
    pub fn page(&self) -> String {
        format!("{{\n  {}\n}}\n", self.fields.join(",\n  "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_reserves_is_escaped() {
        assert_eq!(string("a \"b\" \\ c"), r#""a \"b\" \\ c""#);
        assert_eq!(string("\n\t\r\u{1}\u{1f}ä\u{7f}"), "\"\\n\\t\\r\\u0001\\u001fä\u{7f}\"");
        assert_eq!(string(""), "\"\"");
    }

    #[test]
    fn an_object_has_its_fields_in_order() {
        let item = || Object::new().text("a", "x").maybe_number("n", None).switch("s", true);
        assert_eq!(item().line(), r#"{"a": "x", "s": true}"#);
        let page = Object::new().number("one", 1).list("none", []).list("two", [item(), item()]);
        let wanted = "{\n  \"one\": 1,\n  \"none\": [],\n  \"two\": [\n    \
                      {\"a\": \"x\", \"s\": true},\n    {\"a\": \"x\", \"s\": true}\n  ]\n}\n";
        assert_eq!(page.page(), wanted);
    }
}
