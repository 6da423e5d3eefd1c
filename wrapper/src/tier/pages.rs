//! Pages of XML in which servers of HTTP and S3 list names.
//!
//! A page has at most [`PAGE_BYTES_MAX`] and [`NODES_MAX`]; one with a DTD is none, so that no
//! entity means anything but a character. Elements are known by their names, whatever stands for
//! their namespace.

use roxmltree::{Document, Node, ParsingOptions};

/// S3 has 1000 names on a page, of 1024 bytes and three for each if it must. Servers of DAV have a
/// whole collection on one: some 100,000 names, with 500 bytes around each.
pub(super) const PAGE_BYTES_MAX: u64 = 64 << 20;
/// Elements, attributes and texts: a dozen for each name of DAV.
const NODES_MAX: u32 = 4_000_000;

/// Reads a page; `None` if it is none.
pub(super) fn parse(text: &str) -> Option<Document<'_>> {
    let options =
        ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).ok()
}

/// The elements of a name that an element consists of.
pub(super) fn elements<'a, 'd>(
    node: Node<'a, 'd>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'd>> {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}

/// The text of the first element of a name.
pub(super) fn text<'a>(node: Node<'a, '_>, name: &'static str) -> Option<&'a str> {
    elements(node, name).next()?.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_whatever_their_namespace_is_called() {
        for page in [
            "<list xmlns='x'><name>a&amp;b</name><more><name>c</name></more></list>",
            "<?xml version='1.0'?><X:list xmlns:X='x'><X:name>a&#38;b</X:name></X:list>",
        ] {
            let page = parse(page).unwrap();
            assert_eq!(text(page.root_element(), "name"), Some("a&b"));
            assert_eq!(elements(page.root_element(), "name").count(), 1);
        }
    }

    #[test]
    fn what_is_no_page_is_refused() {
        let bomb = "<!DOCTYPE x [<!ENTITY a 'aaaa'>]><x>&a;</x>";
        for page in ["", "<x>", "<x></y>", "<x>&a;</x>", bomb, "x"] {
            assert!(parse(page).is_none(), "{page}");
        }
    }
}
