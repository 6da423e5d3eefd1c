//! The objects of a bucket, listed with ListObjectsV2.
//!
//! 1. A page has up to 1000 names, and a token for the next one. Names are asked for
//!    percent-encoded, so that each can stand in XML; a server that does not know that says so by
//!    not repeating it.
//! 2. A page that names more, or no token where there is to be more, is none of S3.

use std::sync::atomic::Ordering;

use ureq::http::{Method, StatusCode};

use super::super::address::percent_decode;
use super::super::deadline::Deadline;
use super::super::objects::{Listing, is_path};
use super::super::{Object, Objects, TierError, pages};
use super::{Answer, Order, S3Tier};

/// Names on a page; S3 gives no more.
const PAGE_NAMES: usize = 1000;
/// Bytes of a token; those of S3 have about a hundred, and others put a name there.
const TOKEN_BYTES_MAX: usize = 8192;

/// A page of a list.
#[derive(PartialEq, Eq, Debug)]
struct Page {
    objects: Vec<Object>,
    /// What brings the next one.
    next: Option<String>,
}

impl Objects for S3Tier {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, TierError> {
        if !is_path(name) {
            return Ok(None);
        }
        let object = self.object(name);
        match self.ask(&Order::of(Method::GET, &object), Deadline::after(self.timeout))? {
            Answer::Good(response) if response.status() == StatusCode::OK => {
                self.may_hide.store(true, Ordering::Relaxed);
                self.web.read(response).map(Some)
            }
            Answer::Good(response) => Err(self.web.refused(response.status(), false)),
            Answer::Bad(refusal) if self.is_miss(&refusal) => Ok(None),
            Answer::Bad(refusal) => Err(self.refused(&refusal, false)),
        }
    }

    fn exists(&self, name: &str) -> Result<bool, TierError> {
        let object = self.object(name);
        match self.ask(&Order::of(Method::HEAD, &object), Deadline::after(self.timeout))? {
            Answer::Good(response) => {
                self.web.finish(response);
                Ok(true)
            }
            Answer::Bad(refusal) if self.is_miss(&refusal) => Ok(false),
            Answer::Bad(refusal) => Err(self.refused(&refusal, false)),
        }
    }

    fn put(&self, name: &str, value: &[u8]) -> Result<(), TierError> {
        let object = self.object(name);
        if value.len() >= self.part_bytes {
            return self.put_in_parts(&object, value);
        }
        let (headers, body) = (&*self.headers, Some(value));
        let order = Order { headers, body, ..Order::of(Method::PUT, &object) };
        self.change(&order, Deadline::after(self.timeout))
    }

    fn list(&self, see: &mut dyn FnMut(Object)) -> Result<(), TierError> {
        let mut listing = Listing::new(self.web.name().to_owned(), &self.folder, see);
        let (count, mut token) = (PAGE_NAMES.to_string(), None::<String>);
        loop {
            listing.page()?;
            let mut query: Vec<(&str, &str)> = Vec::new();
            query.extend(token.as_deref().map(|token| ("continuation-token", token)));
            query.extend([("encoding-type", "url"), ("list-type", "2"), ("max-keys", &count)]);
            query.push(("prefix", &self.folder));
            let order = Order { query: &query, ..Order::of(Method::GET, "") };
            let page = match self.ask(&order, Deadline::after(self.timeout))? {
                Answer::Good(response) => self.web.read_page(response)?,
                Answer::Bad(refusal) => return Err(self.refused(&refusal, false)),
            };
            let page = parse(&page).ok_or_else(|| self.odd())?;
            for object in page.objects {
                let rest = object.name.strip_prefix(&self.folder);
                if rest.is_some_and(is_path) {
                    listing.see(object)?;
                }
            }
            match page.next {
                None => return Ok(()),
                // It would bring the same page for ever.
                next if next == token => return Err(self.odd()),
                next => token = next,
            }
        }
    }
}

/// Reads a page; `None` if it is none.
fn parse(text: &str) -> Option<Page> {
    let page = pages::parse(text)?;
    let list = page.root_element();
    if list.tag_name().name() != "ListBucketResult" {
        return None;
    }
    let is_encoded = pages::text(list, "EncodingType") == Some("url");
    let mut objects = Vec::new();
    for contents in pages::elements(list, "Contents") {
        let name = pages::text(contents, "Key")?;
        let name = match is_encoded {
            // As a form has it: a plain plus is %2B.
            true => percent_decode(&name.replace('+', " ")).ok(),
            false => Some(name.to_owned()),
        };
        let bytes = pages::text(contents, "Size").and_then(|size| size.parse().ok());
        // What is no name for us counts all the same.
        let name = name.unwrap_or_default();
        objects.push(Object { name, bytes, used_secs: None });
    }
    let token = pages::text(list, "NextContinuationToken").map(str::to_owned);
    let is_token = |token: &String| (1..=TOKEN_BYTES_MAX).contains(&token.len());
    let next = match pages::text(list, "IsTruncated") {
        Some("true") => Some(token.filter(is_token)?),
        _ => None,
    };
    (objects.len() <= PAGE_NAMES).then_some(Page { objects, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(inner: &str) -> Option<Page> {
        parse(&format!("<ListBucketResult xmlns=\"x\">{inner}</ListBucketResult>"))
    }

    #[test]
    fn a_page_has_names_and_where_the_next_one_is() {
        let contents = "<Contents><Key>a%2Bb+c</Key><Size>7</Size></Contents>";
        let object = |name: &str, bytes| Object { bytes, ..Object::named(name) };
        let plain = Page { objects: vec![object("a%2Bb+c", Some(7))], next: None };
        assert_eq!(page(contents), Some(plain));
        let encoded = page(&format!(
            "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>{contents}\
             <NextContinuationToken>t</NextContinuationToken><Contents><Key>%FF</Key></Contents>"
        ));
        let objects = vec![object("a+b c", Some(7)), object("", None)];
        assert_eq!(encoded, Some(Page { objects, next: Some("t".to_owned()) }));
    }

    #[test]
    fn what_is_no_page_is_refused() {
        let many = "<Contents><Key>a</Key></Contents>".repeat(PAGE_NAMES + 1);
        for inner in ["<IsTruncated>true</IsTruncated>", "<Contents></Contents>", &many] {
            assert_eq!(page(inner), None, "{inner:.40}");
        }
        assert_eq!(parse("<Error><Code>x</Code></Error>"), None);
        assert_eq!(parse("x"), None);
    }
}
