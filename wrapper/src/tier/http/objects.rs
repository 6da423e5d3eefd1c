//! The objects of a server of HTTP, listed with PROPFIND where it knows that (DAV).
//!
//! 1. Collections are asked one by one with `Depth: 1`, since many servers refuse `infinity`, down
//!    to [`DEPTH_MAX`] below the first.
//! 2. An answer has a `href` for the collection itself and for each member. Only members whose path
//!    stands right below that of the collection count, whatever host the `href` names: a proxy may
//!    have another one. An answer without the collection itself is about something else.
//! 3. A collection that vanishes meanwhile is empty.

use ureq::http::{Method, StatusCode};

use super::super::address::percent_decode;
use super::super::deadline::Deadline;
use super::super::objects::{Listing, is_path};
use super::super::web::Call;
use super::super::{Object, Objects, TierError, TierErrorKind, pages};
use super::{HttpTier, may_lack_collection, percent_encode_path};

/// Collections in collections: sccache has three, and a prefix some more.
const DEPTH_MAX: usize = 16;
/// What is asked of each member.
const QUESTION: &[u8] = b"<?xml version=\"1.0\" encoding=\"utf-8\"?>\
    <propfind xmlns=\"DAV:\"><prop><resourcetype/><getcontentlength/></prop></propfind>";

/// What stands in a collection.
#[derive(PartialEq, Eq, Debug)]
struct Member {
    /// Without the path of the collection.
    name: String,
    is_collection: bool,
    bytes: Option<u64>,
}

impl Objects for HttpTier {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, TierError> {
        if !is_path(name) {
            return Ok(None);
        }
        let response = self.look(&Method::GET, name, Deadline::after(self.timeout))?;
        match response.status() {
            StatusCode::OK => self.web.read(response).map(Some),
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                self.web.finish(response);
                Ok(None)
            }
            status => {
                self.web.finish(response);
                Err(self.web.refused(status, false))
            }
        }
    }

    fn exists(&self, name: &str) -> Result<bool, TierError> {
        let response = self.look(&Method::HEAD, name, Deadline::after(self.timeout))?;
        let status = response.status();
        self.web.finish(response);
        match status {
            StatusCode::OK | StatusCode::NO_CONTENT => Ok(true),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(false),
            status => Err(self.web.refused(status, false)),
        }
    }

    fn put(&self, name: &str, value: &[u8]) -> Result<(), TierError> {
        let (path, deadline) = (self.path(name), Deadline::after(self.timeout));
        let mut status = self.change(&Method::PUT, &path, Some(value), deadline)?;
        if may_lack_collection(status) {
            self.make_collections(&path, deadline)?;
            status = self.change(&Method::PUT, &path, Some(value), deadline)?;
        }
        if status.is_success() { Ok(()) } else { Err(self.web.refused(status, true)) }
    }

    fn list(&self, see: &mut dyn FnMut(Object)) -> Result<(), TierError> {
        let mut listing = Listing::new(self.web.name().to_owned(), &self.prefix, see);
        // The prefix may end within a name.
        let top = self.prefix.rfind('/').map_or("", |slash| &self.prefix[..=slash]);
        let mut left = vec![(top.to_owned(), 0)];
        while let Some((folder, depth)) = left.pop() {
            listing.page()?;
            for member in self.members(&folder, depth == 0)? {
                let name = format!("{folder}{}", member.name);
                match member.is_collection {
                    true if depth == DEPTH_MAX => {
                        let text = "its collections are too deep to list";
                        return Err(self.web.error(TierErrorKind::Protocol, text));
                    }
                    true if format!("{name}/").starts_with(&self.prefix) => {
                        left.push((format!("{name}/"), depth + 1));
                    }
                    true => {}
                    false => {
                        let Member { bytes, .. } = member;
                        listing.see(Object { name, bytes, used_secs: None })?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl HttpTier {
    /// What stands in a collection, by its name with a slash at the end.
    fn members(&self, folder: &str, is_top: bool) -> Result<Vec<Member>, TierError> {
        let odd = |text: &str| self.web.error(TierErrorKind::Protocol, text);
        let method = Method::from_bytes(b"PROPFIND").map_err(|_| odd("there is no PROPFIND"))?;
        let path = format!("{}/{}", self.path, percent_encode_path(folder));
        let mut headers = self.headers.clone();
        headers.push(("Depth".to_owned(), "1".to_owned()));
        headers.push(("Content-Type".to_owned(), "application/xml".to_owned()));
        let url = self.origin.url(&path);
        let call = Call { method: &method, url: &url, headers: &headers, body: Some(QUESTION) };
        let response = self.web.send(&call, Deadline::after(self.timeout))?;
        let status = response.status();
        if status == StatusCode::MULTI_STATUS {
            let page = self.web.read_page(response)?;
            let decoded = percent_decode(&path).map_err(|_| odd("its path is no UTF-8"))?;
            return members(&page, &decoded).ok_or_else(|| odd("its list is none of DAV"));
        }
        self.web.finish(response);
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE if !is_top => Ok(Vec::new()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(self.web.refused(status, false))
            }
            status if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
                Err(self.web.refused(status, false))
            }
            status => Err(odd(&format!(
                "the server lists no names: it says {} to PROPFIND",
                status.as_u16()
            ))),
        }
    }
}

/// The members in an answer about the collection of a path, which ends with a slash. `None` if it
/// is no such answer.
fn members(page: &str, path: &str) -> Option<Vec<Member>> {
    let page = pages::parse(page)?;
    let (mut members, mut is_about_it) = (Vec::new(), false);
    for response in pages::elements(page.root_element(), "response") {
        let Some(found) = path_of(pages::text(response, "href")?) else { continue };
        if found.trim_end_matches('/') == path.trim_end_matches('/') {
            is_about_it = true;
            continue;
        }
        let Some(name) = found.strip_prefix(path) else { continue };
        let stats = pages::elements(response, "propstat");
        let props = stats.flat_map(|stat| pages::elements(stat, "prop"));
        let (mut is_collection, mut bytes) = (found.ends_with('/'), None);
        for prop in props {
            let mut types = pages::elements(prop, "resourcetype");
            is_collection |= types.any(|kind| pages::elements(kind, "collection").next().is_some());
            let length = pages::text(prop, "getcontentlength");
            bytes = bytes.or(length.and_then(|length| length.trim().parse().ok()));
        }
        let name = name.trim_end_matches('/');
        if is_path(name) && !name.contains('/') {
            members.push(Member { name: name.to_owned(), is_collection, bytes });
        }
    }
    is_about_it.then_some(members)
}

/// The path of a `href`, without what stands for characters in it.
fn path_of(href: &str) -> Option<String> {
    let href = href.trim();
    let path = match href.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => &rest[rest.find('/')?..],
        _ => href,
    };
    percent_decode(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(responses: &[(&str, &str)]) -> String {
        let one = |(href, prop): &(&str, &str)| {
            format!(
                "<D:response><D:href>{href}</D:href><D:propstat><D:prop>{prop}</D:prop>\
                 <D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
            )
        };
        let all: String = responses.iter().map(one).collect();
        format!("<?xml version=\"1.0\"?><D:multistatus xmlns:D=\"DAV:\">{all}</D:multistatus>")
    }

    fn seen(responses: &[(&str, &str)]) -> Option<Vec<(String, bool)>> {
        let members = members(&page(responses), "/a b/")?;
        Some(members.into_iter().map(|member| (member.name, member.is_collection)).collect())
    }

    #[test]
    fn members_are_those_right_below_the_collection() {
        let collection = "<D:resourcetype><D:collection/></D:resourcetype>";
        let found = seen(&[
            ("/a%20b/", collection),
            ("/a%20b/x", collection),
            ("http://other/a%20b/y%25", "<D:getcontentlength>7</D:getcontentlength>"),
            ("/a%20b/z/", ""),
            ("/a%20b/../passwd", ""),
            ("/a%20b/..", ""),
            ("/a%20b/%2e%2e/", ""),
            ("/a%20b/one/two", ""),
            ("/a%20b/c%0Ad", ""),
            ("/else", ""),
        ]);
        let expected = [("x", true), ("y%", false), ("z", true)];
        let expected = expected.map(|(name, is_collection)| (name.to_owned(), is_collection));
        assert_eq!(found.as_deref(), Some(&expected[..]));
        let page =
            page(&[("/a%20b", ""), ("/a%20b/y", "<D:getcontentlength>7</D:getcontentlength>")]);
        assert_eq!(members(&page, "/a b/").unwrap()[0].bytes, Some(7));
    }

    #[test]
    fn an_answer_about_something_else_is_none() {
        assert_eq!(seen(&[("/a/", ""), ("/a%20b/x", "")]), None);
        assert_eq!(seen(&[]), None);
        assert_eq!(members("<html><body>It works</body>", "/"), None);
        assert_eq!(members("<html></html>", "/"), None);
    }
}
