//! The calls, `call_…`, and what the check must find, `control_…`.

use alloc::boxed::Box;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use vchan::{LateError, ReadError, RecvError, SendError, WriteError};

use crate::platform::{Meeting, Port};

type Reader = vchan::Reader<Meeting>;
type Writer = vchan::Writer<Meeting>;

unsafe extern "C" {
    safe fn platform_sleep();
    safe fn platform_late() -> u32;
}

/// Runs a future to its end, and no further: to poll one that is done is the caller's mistake, and a panic of the language.
#[inline(always)]
fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => platform_sleep(),
        }
    }
}

/// Comes at any time.
fn deadline() -> impl Future<Output = ()> {
    poll_fn(|_| match platform_late() {
        0 => Poll::Pending,
        _ => Poll::Ready(()),
    })
}

macro_rules! calls {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $output:ty { $body:expr })*) => {
        $(
            #[allow(missing_docs, reason = "each is named after what it calls")]
            #[unsafe(no_mangle)]
            pub fn $name($($argument: $type),*) -> $output {
                $body
            }
        )*
    };
}

calls! {
    fn call_try_read(reader: &mut Reader, out: &mut [u8]) -> Result<Option<usize>, ReadError> { reader.try_read(out) }
    fn call_try_read_vectored(reader: &mut Reader, pieces: &mut [&mut [u8]]) -> Result<Option<usize>, ReadError> { reader.try_read_vectored(pieces) }
    fn call_try_recv(reader: &mut Reader, out: &mut [u8]) -> Result<Option<usize>, RecvError> { reader.try_recv(out) }
    fn call_try_peek_and_consume(reader: &mut Reader, least: usize, kept: usize) -> Result<usize, RecvError> {
        reader.try_peek(least).map(|lent| lent.map_or(0, |lent| {
            let len = lent.slice().len();
            lent.consume(kept);
            len
        }))
    }
    fn call_free(reader: &mut Reader) -> () { reader.free() }
    fn call_ask_reader(reader: &mut Reader) -> () { reader.ask() }
    fn call_close_reader(reader: &mut Reader) -> () { reader.close() }
    fn call_try_write(writer: &mut Writer, data: &[u8]) -> Result<usize, WriteError> { writer.try_write(data) }
    fn call_try_write_vectored(writer: &mut Writer, pieces: &[&[u8]]) -> Result<usize, WriteError> { writer.try_write_vectored(pieces) }
    fn call_try_send(writer: &mut Writer, data: &[u8]) -> Result<bool, SendError> { writer.try_send(data) }
    fn call_try_send_vectored(writer: &mut Writer, pieces: &[&[u8]]) -> Result<bool, SendError> { writer.try_send_vectored(pieces) }
    fn call_try_reserve_and_commit(writer: &mut Writer, len: usize, kept: usize) -> Result<bool, SendError> {
        match writer.try_reserve(len)? {
            Some(reserved) => Ok(reserved.commit(kept).map(|()| true)?),
            None => Ok(false),
        }
    }
    fn call_publish(writer: &mut Writer) -> Result<(), WriteError> { writer.publish() }
    fn call_ask_writer(writer: &mut Writer) -> () { writer.ask() }
    fn call_close_writer(writer: &mut Writer) -> () { writer.close() }
    fn call_unread(writer: &Writer) -> u32 { writer.unread() }
    fn call_look_for_peer(writer: &Writer) -> Result<(), vchan::Corrupt> { writer.look_for_peer() }
    fn call_read(reader: &mut Reader, out: &mut [u8]) -> Result<usize, ReadError> { run(reader.read(out)) }
    fn call_read_vectored(reader: &mut Reader, pieces: &mut [&mut [u8]]) -> Result<usize, ReadError> { run(reader.read_vectored(pieces)) }
    fn call_recv(reader: &mut Reader, out: &mut [u8]) -> Result<usize, RecvError> { run(reader.recv(out)) }
    fn call_peek(reader: &mut Reader, least: usize) -> Result<(), RecvError> { run(reader.peek(least)).map(|lent| lent.consume(least)) }
    fn call_read_before(reader: &mut Reader, out: &mut [u8]) -> Result<usize, LateError<ReadError>> { run(reader.read_before(out, deadline())) }
    fn call_recv_before(reader: &mut Reader, out: &mut [u8]) -> Result<usize, LateError<RecvError>> { run(reader.recv_before(out, deadline())) }
    fn call_write(writer: &mut Writer, data: &[u8]) -> Result<usize, WriteError> { run(writer.write(data)) }
    fn call_write_vectored(writer: &mut Writer, pieces: &[&[u8]]) -> Result<usize, WriteError> { run(writer.write_vectored(pieces)) }
    fn call_send(writer: &mut Writer, data: &[u8]) -> Result<(), SendError> { run(writer.send(data)) }
    fn call_reserve(writer: &mut Writer, len: usize) -> Result<(), SendError> { Ok(run(writer.reserve(len))?.commit(len)?) }
    fn call_drained(writer: &mut Writer) -> Result<(), WriteError> { run(writer.drained()) }
    fn call_event_count(reader: &Reader) -> u64 { reader.event_count() }
    fn call_events(reader: &Reader) -> &Port { reader.events() }
    fn control_indexes(data: &[u8], at: usize) -> u8 { data[at] }
    fn control_divides(one: u32, other: u32) -> u32 { one / other }
    fn control_slices_lent_memory(reader: &mut Reader, out: &mut [u8]) -> bool {
        match reader.try_peek(out.len()) {
            Ok(Some(lent)) => { lent.slice().copy_to(1, out); true }
            _ => false,
        }
    }
    fn control_allocates(value: u32) -> Box<u32> { Box::new(value) }
    fn control_frees(value: Box<u32>) -> () { drop(value) }
}
