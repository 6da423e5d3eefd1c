//! A large body, in parts.
//!
//! 1. The upload is created, its parts are sent one after the other, and it is completed; only then
//!    there is an object. Each of these requests is tried again by itself.
//! 2. All parts but the last one have the same size: `multipart-bytes`, or more if there were more
//!    than [`PARTS_MAX`].
//! 3. S3 may say 200 to the completion before it knows: what counts is the reply's body.
//! 4. What fails is aborted, so that nobody pays for its parts. A tenth of the call's time is kept
//!    for that; what a dead server keeps is for a rule of the bucket.

use ureq::http::{Method, header};

use super::super::deadline::Deadline;
use super::super::{TierError, TierErrorKind};
use super::{Answer, Order, S3Tier, code_of, xml};

/// Parts of one upload.
const PARTS_MAX: usize = 10_000;
/// Bytes of an upload's number; those of S3 have about two hundred.
const ID_BYTES_MAX: usize = 2048;

impl S3Tier {
    /// Stores a body in parts.
    pub(super) fn put_in_parts(&self, object: &str, body: &[u8]) -> Result<(), TierError> {
        let whole = Deadline::after(self.timeout);
        let deadline = whole.or_after(self.timeout - self.timeout / 10);
        let upload = self.create(object, deadline)?;
        let stored = self.upload(object, &upload, body, deadline);
        if stored.is_err() {
            let query = [("uploadId", upload.as_str())];
            let order = Order { query: &query, ..Order::of(Method::DELETE, object) };
            // What counts is why it failed.
            let _ = self.change(&order, whole);
        }
        stored
    }

    /// Begins an upload and returns its number.
    fn create(&self, object: &str, deadline: Deadline) -> Result<String, TierError> {
        let order = Order {
            query: &[("uploads", "")],
            headers: &self.headers,
            body: Some(&[]),
            ..Order::of(Method::POST, object)
        };
        let text = self.text(&order, deadline)?;
        let id = xml::element(&text, "UploadId").and_then(xml::unescape);
        let is_good = |id: &String| {
            (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
        };
        id.filter(is_good).ok_or_else(|| self.odd())
    }

    fn upload(
        &self,
        object: &str,
        upload: &str,
        body: &[u8],
        deadline: Deadline,
    ) -> Result<(), TierError> {
        let part_bytes = self.part_bytes.max(body.len().div_ceil(PARTS_MAX));
        let mut list = String::from("<CompleteMultipartUpload>");
        for (index, part) in body.chunks(part_bytes).enumerate() {
            let number = (index + 1).to_string();
            let query = [("partNumber", number.as_str()), ("uploadId", upload)];
            let order = Order { query: &query, body: Some(part), ..Order::of(Method::PUT, object) };
            let response = match self.ask(&order, deadline)? {
                Answer::Good(response) => response,
                Answer::Bad(refusal) => return Err(self.refused(&refusal, true)),
            };
            let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
            let tag = xml::escape(tag.ok_or_else(|| self.odd())?);
            list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>");
            self.web.finish(response);
        }
        list += "</CompleteMultipartUpload>";
        let query = [("uploadId", upload)];
        let body = Some(list.as_bytes());
        let order = Order { query: &query, body, ..Order::of(Method::POST, object) };
        let text = self.text(&order, deadline)?;
        if xml::element(&text, "CompleteMultipartUploadResult").is_some() {
            return Ok(());
        }
        match code_of(&text).as_str() {
            "" => Err(self.odd()),
            code => {
                let text = format!("the server says {code} in the end");
                Err(self.web.error(TierErrorKind::Unreachable, &text))
            }
        }
    }

    /// Sends a request and returns what the server says to it.
    fn text(&self, order: &Order<'_>, deadline: Deadline) -> Result<String, TierError> {
        match self.ask(order, deadline)? {
            Answer::Good(response) => self.web.remark(response).ok_or_else(|| self.odd()),
            Answer::Bad(refusal) => Err(self.refused(&refusal, true)),
        }
    }

    pub(super) fn odd(&self) -> TierError {
        self.web.error(TierErrorKind::Protocol, "its reply is none of S3")
    }
}
