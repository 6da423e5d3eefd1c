//! What little of XML a client of S3 reads and writes: elements by their names, without attributes.

/// What stands in the first element of a name, as it is written.
pub(super) fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = text;
    loop {
        let (_, behind) = rest.split_once('<')?;
        rest = behind;
        let Some(head) = behind.strip_prefix(name) else { continue };
        let inner = match head.bytes().next()? {
            b'>' => &head[1..],
            b' ' | b'\t' | b'\r' | b'\n' => head.split_once('>')?.1,
            _ => continue,
        };
        let end = inner.find(&format!("</{name}>"))?;
        return Some(&inner[..end]);
    }
}

/// A text of an element, with what its entities stand for. `None` if one is not known.
pub(super) fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut parts = text.split('&');
    plain.push_str(parts.next()?);
    for part in parts {
        let (entity, rest) = part.split_once(';')?;
        plain.push(match entity {
            "amp" | "#38" | "#x26" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" | "#34" | "#x22" => '"',
            "apos" | "#39" | "#x27" => '\'',
            _ => return None,
        });
        plain.push_str(rest);
    }
    Some(plain)
}

/// A text as it stands in an element.
pub(super) fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_by_their_names() {
        let text = "<?xml version=\"1.0\"?>\n<Error xmlns=\"x\"><Codes>no</Codes><Code>Yes</Code>\
                    <Message>&lt;Code></Message></Error>";
        assert_eq!(element(text, "Code"), Some("Yes"));
        assert_eq!(element(text, "Error").and_then(|it| element(it, "Codes")), Some("no"));
        for wrong in ["", "<", "<Code", "<Code>", "<Code>x</Cod", "<Code x", "Code>x</Code>", "<é"]
        {
            assert_eq!(element(wrong, "Code"), None, "{wrong}");
        }
    }

    #[test]
    fn entities_stand_for_characters() {
        assert_eq!(unescape("a&amp;b&quot;&#34;").as_deref(), Some("a&b\"\""));
        assert_eq!(unescape(&escape("\"<&>\"")).as_deref(), Some("\"<&>\""));
        assert_eq!((unescape("&bomb;"), unescape("&amp")), (None, None));
    }
}
