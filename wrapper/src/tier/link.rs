//! One connection to a server, over which every read and write ends at a deadline.
//!
//! The kernel's time-outs are for one call each, and a server that sends a byte a second never
//! meets them. So each read and write gets as its time-out what is left of the whole.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::address::Node;
use super::deadline::Deadline;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// A connection, plain or with TLS.
pub(super) enum Link {
    /// As it is.
    Plain(Timed<TcpStream>),
    /// On this machine.
    Unix(Timed<UnixStream>),
    /// Encrypted.
    Tls(Box<StreamOwned<ClientConnection, Timed<TcpStream>>>),
}

/// A socket and when its present use has to be over.
pub(super) struct Timed<S> {
    socket: S,
    deadline: Deadline,
}

impl Link {
    /// Connects by name, and with TLS if there is a configuration for it.
    ///
    /// # Errors
    /// `TimedOut` at the deadline; `InvalidData` if TLS finds something wrong; else as the system.
    pub(super) fn open(
        node: &Node,
        tls: Option<&Arc<ClientConfig>>,
        deadline: Deadline,
    ) -> io::Result<Link> {
        let socket = connect(&resolve(node, deadline)?, deadline)?;
        let mut socket = Timed::new(socket, deadline);
        let Some(config) = tls else { return Ok(Link::Plain(socket)) };
        let name = ServerName::try_from(node.host.clone()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(config), name);
        let mut connection = connection.map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Link::Tls(Box::new(StreamOwned::new(connection, socket))))
    }

    /// Connects to a socket of this machine.
    ///
    /// # Errors
    /// As [`Link::open`].
    pub(super) fn open_unix(path: &Path, deadline: Deadline) -> io::Result<Link> {
        let flags = SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // A server that has stopped accepts nobody when its queue is full; the kernel waits for
        // as long as a write may.
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(deadline.left()?))?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Link::Unix(Timed::new(socket.into(), deadline)))
    }

    /// From now on everything has to be over by then.
    pub(super) fn set_deadline(&mut self, deadline: Deadline) {
        match self {
            Link::Plain(timed) => timed.set_deadline(deadline),
            Link::Unix(timed) => timed.set_deadline(deadline),
            Link::Tls(stream) => stream.sock.set_deadline(deadline),
        }
    }
}

/// Connects to the first address that answers.
///
/// # Errors
/// `TimedOut` at the deadline; else as the system, of the last one.
pub(super) fn connect(addresses: &[SocketAddr], deadline: Deadline) -> io::Result<TcpStream> {
    let mut socket = Err(io::Error::other("its name has no address"));
    let count = addresses.len().min(ADDRESSES_MAX);
    for (index, address) in addresses.iter().take(count).enumerate() {
        // One that is silent must leave time for the others.
        let share = deadline.left()? / (count - index) as u32;
        let share = share.max(Duration::from_millis(1));
        socket = TcpStream::connect_timeout(address, share);
        if socket.is_ok() {
            break;
        }
    }
    let socket = socket?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

impl<S> Timed<S> {
    pub(super) fn new(socket: S, deadline: Deadline) -> Timed<S> {
        Timed { socket, deadline }
    }

    pub(super) fn socket(&self) -> &S {
        &self.socket
    }

    /// From now on everything has to be over by then.
    pub(super) fn set_deadline(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Link::Plain(timed) => timed.read(buffer),
            Link::Unix(timed) => timed.read(buffer),
            Link::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Link {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Link::Plain(timed) => timed.write(buffer),
            Link::Unix(timed) => timed.write(buffer),
            Link::Tls(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Link::Plain(_) | Link::Unix(_) => Ok(()),
            Link::Tls(stream) => stream.flush(),
        }
    }
}

/// A socket that can be told how long to wait.
pub(super) trait Patient: Read + Write {
    fn wait_to_read(&self, time: Duration) -> io::Result<()>;
    fn wait_to_write(&self, time: Duration) -> io::Result<()>;
}

impl Patient for TcpStream {
    fn wait_to_read(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))
    }

    fn wait_to_write(&self, time: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(time))
    }
}

impl Patient for UnixStream {
    fn wait_to_read(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))
    }

    fn wait_to_write(&self, time: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(time))
    }
}

impl<S: Patient> Read for Timed<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.socket.wait_to_read(self.deadline.left()?)?;
            match self.socket.read(buffer) {
                Err(error) if is_too_early(&error) => {}
                result => return result,
            }
        }
    }
}

impl<S: Patient> Write for Timed<S> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        loop {
            self.socket.wait_to_write(self.deadline.left()?)?;
            match self.socket.write(buffer) {
                Err(error) if is_too_early(&error) => {}
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether only the wait is over: whether the time is, the deadline says.
fn is_too_early(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// The addresses of a server. The system's resolver has no time-out of ours, so it is asked on a
/// thread that may outlive the call.
fn resolve(node: &Node, deadline: Deadline) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = node.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, node.port)]);
    }
    let (sender, receiver) = mpsc::channel();
    let (host, port) = (node.host.clone(), node.port);
    thread::Builder::new().name("resolve".to_owned()).spawn(move || {
        let addresses = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        // Nobody may be waiting any more.
        let _ = sender.send(addresses);
    })?;
    match receiver.recv_timeout(deadline.left()?) {
        Ok(addresses) => addresses,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
