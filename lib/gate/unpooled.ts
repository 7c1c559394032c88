/**
 * Bytes that are to stay. Node cuts small buffers, zlib's output among them, out of pieces of 64 KiB,
 * and one that stays keeps the whole piece: a packument of 12 KB took five times as much.
 */
export const unpooled = (bytes: Buffer): Buffer =>
  bytes.buffer.byteLength > bytes.length * 1.25
    ? Buffer.from(new Uint8Array(bytes).buffer)
    : bytes
