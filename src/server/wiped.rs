//! A stream that overwrites what its reader has read before it gives it more.
//!
//! The HTTP and TLS libraries keep one buffer for each connection and read into the room behind what they
//! have not used yet. What they have used stays in that room: the passwords and keys of earlier requests.
//! They are overwritten here, because the library's next read hands that room over. Buffers that are freed
//! are overwritten by the allocator of the program.
//!
//! Invariant: a read never fills the room of the HTTP library, which would make it keep a larger buffer
//! that is not handed over as a whole.
//!
//! Threats T26: passwords in a memory image.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// See the module.
pub(crate) struct Wiped<S>(pub(crate) S);

impl<S: AsyncRead + Unpin> AsyncRead for Wiped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let used = buffer.initialized().len() - buffer.filled().len();
        // What was not initialized is zeroed by this, the rest is what was used.
        let room = buffer.initialize_unfilled();
        room.iter_mut().take(used).for_each(|octet| *octet = 0);
        let mut part = buffer.take(READ);
        ready!(Pin::new(&mut self.0).poll_read(context, &mut part))?;
        let read = part.filled().len();
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wiped<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// One octet less than the least room that the HTTP library asks for.
const READ: usize = 8191;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn what_was_used_is_gone_after_the_next_read() {
        let mut stream = Wiped(&b"hunter2"[..]);
        let mut room = [b'x'; 16];
        let read = stream.read(&mut room).await.unwrap();
        assert_eq!((read, &room[..7]), (7, &b"hunter2"[..]));
        assert_eq!(room[7..], [0; 9]);
        assert_eq!(stream.read(&mut room).await.unwrap(), 0);
        assert_eq!(room, [0; 16]);
    }

    #[tokio::test]
    async fn a_read_leaves_room() {
        let long = vec![7; 20_000];
        let mut stream = Wiped(long.as_slice());
        let mut buffer = Vec::with_capacity(8192);
        assert_eq!(stream.read_buf(&mut buffer).await.unwrap(), READ);
        stream.read_to_end(&mut buffer).await.unwrap();
        assert_eq!(buffer, long);
    }
}
