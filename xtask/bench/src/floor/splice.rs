//! A bare TCP splice: whoever connects here is connected to somebody else, and bytes are copied in both directions. It is
//! the least that a relay does.

use std::net::SocketAddr;

use anyhow::Result;
use argh::FromArgs;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The command.
pub(crate) const COMMAND: &str = "floor-splice";
/// Bytes copied at once. Larger ones were not faster.
const BUFFER: usize = 128 * 1024;

/// Copy bytes between whoever connects and another address.
#[derive(Debug, FromArgs)]
pub(crate) struct Options {
    /// the address to listen on
    #[argh(option)]
    listen: SocketAddr,
    /// where everybody is led
    #[argh(option)]
    to: SocketAddr,
}

pub(crate) fn run(options: Options) -> Result<()> {
    super::runtime()?.block_on(serve(options))
}

async fn serve(options: Options) -> Result<()> {
    let listener = TcpListener::bind(options.listen).await?;
    println!("tcp://{}", listener.local_addr()?);
    loop {
        let (near, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = splice(near, options.to).await {
                eprintln!("a connection broke off: {error}");
            }
        });
    }
}

async fn splice(mut near: TcpStream, to: SocketAddr) -> std::io::Result<()> {
    let mut far = TcpStream::connect(to).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_in, near_out) = near.split();
    let (far_in, far_out) = far.split();
    tokio::try_join!(copy(near_in, far_out), copy(far_in, near_out))?;
    Ok(())
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}
