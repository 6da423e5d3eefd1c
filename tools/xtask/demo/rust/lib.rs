//! A page of HTTP with wrapped lines: enough to need the crates.

/// The headers of a request, wrapped.
pub fn headers(request: &[u8]) -> Option<Vec<String>> {
    let mut places = [httparse::EMPTY_HEADER; 16];
    let mut parsed = httparse::Request::new(&mut places);
    parsed.parse(request).ok()?;
    let line = |header: &httparse::Header<'_>| {
        format!("{}: {}", header.name, String::from_utf8_lossy(header.value))
    };
    Some(parsed.headers.iter().map(|header| textwrap::fill(&line(header), 72)).collect())
}
