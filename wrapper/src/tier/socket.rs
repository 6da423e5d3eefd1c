//! Connections for HTTP on which no answer waits for an acknowledgement.
//!
//! A server may send the head and the body of an answer apart. Unless it has switched Nagle's
//! algorithm off (RFC 896), its kernel holds the body back until the head is acknowledged, and ours
//! delays that by some 40 ms (RFC 1122, 4.2.3.2) on a connection on which both sides talk in turn.
//! Linux leaves that off until data is sent again if it is told `TCP_QUICKACK`, tcp(7).

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::net::sockopt;
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};

use super::deadline::Deadline;
use super::link::{Timed, connect};

/// As good as for ever.
const TIMEOUT_MAX: Duration = Duration::from_secs(1 << 30);

/// Opens the connections of one client.
#[derive(Debug)]
pub(super) struct Sockets;

impl<In: Transport> Connector<In> for Sockets {
    type Out = Either<In, Socket>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if let Some(chained) = chained {
            return Ok(Some(Either::A(chained)));
        }
        let deadline = deadline(details.timeout);
        let stream = connect(&details.addrs, deadline).map_err(told(details.timeout))?;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Either::B(Socket { stream: Timed::new(stream, deadline), buffers })))
    }
}

/// A connection.
pub(super) struct Socket {
    stream: Timed<TcpStream>,
    buffers: LazyBuffers,
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.set_deadline(deadline(timeout.for_write()));
        let sent = self.stream.write_all(&self.buffers.output()[..amount]);
        // Only a matter of time.
        let _ = sockopt::set_tcp_quickack(self.stream.socket(), true);
        sent.map_err(told(timeout.for_write()))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.set_deadline(deadline(timeout.for_read()));
        let read = self.stream.read(self.buffers.input_append_buf());
        let count = read.map_err(told(timeout.for_read()))?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    /// Whether there is nothing to read, not even an end: nobody was asked.
    fn is_open(&mut self) -> bool {
        let socket = self.stream.socket();
        let is_set = |is_nonblocking| socket.set_nonblocking(is_nonblocking).is_ok();
        let waits = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        is_set(true) && socket.peek(&mut [0]).is_err_and(waits) && is_set(false)
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Socket").field(self.stream.socket()).finish()
    }
}

fn deadline(timeout: NextTimeout) -> Deadline {
    Deadline::after((*timeout.after).min(TIMEOUT_MAX))
}

/// An error as ureq tells it: what took too long has a reason.
fn told(timeout: NextTimeout) -> impl Fn(io::Error) -> Error {
    move |error| match error.kind() {
        io::ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => Error::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stream = connect(&[address], Deadline::after(Duration::from_secs(9))).unwrap();
        let stream = Timed::new(stream, Deadline::after(Duration::from_secs(9)));
        let socket = Socket { stream, buffers: LazyBuffers::new(1024, 1024) };
        (socket, listener.accept().unwrap().0)
    }

    fn within(time: Duration) -> NextTimeout {
        NextTimeout { after: time.into(), ..NextTimeout::default() }
    }

    fn say(socket: &mut Socket, text: &[u8]) {
        socket.buffers().output()[..text.len()].copy_from_slice(text);
        socket.transmit_output(text.len(), within(Duration::from_secs(9))).unwrap();
    }

    #[test]
    fn what_comes_back_is_acknowledged_at_once() {
        let (mut socket, mut server) = pair();
        for _ in 0..3 {
            say(&mut socket, b"question");
            assert!(sockopt::tcp_quickack(socket.stream.socket()).unwrap());
            server.read_exact(&mut [0; 8]).unwrap();
            server.write_all(b"answer").unwrap();
            assert!(socket.await_input(within(Duration::from_secs(9))).unwrap());
            assert_eq!(socket.buffers().input(), b"answer");
            socket.buffers().input_consume(6);
        }
    }

    #[test]
    fn silence_is_a_time_out_with_its_reason() {
        let (mut socket, _server) = pair();
        for time in [Duration::ZERO, Duration::from_millis(20)] {
            let error = socket.await_input(within(time)).unwrap_err();
            assert!(matches!(error, Error::Timeout(_)), "{error:?}");
        }
    }

    #[test]
    fn one_is_open_until_its_server_says_something_or_leaves() {
        let (mut socket, mut server) = pair();
        assert!(socket.is_open() && socket.is_open());
        // It waits again afterwards.
        say(&mut socket, b"question");
        server.read_exact(&mut [0; 8]).unwrap();
        server.write_all(b"answer").unwrap();
        assert!(socket.await_input(within(Duration::from_secs(9))).unwrap());
        drop(server);
        // Its end may still be on its way.
        let _ = socket.stream.socket().peek(&mut [0]);
        assert!(!socket.is_open());
    }
}
