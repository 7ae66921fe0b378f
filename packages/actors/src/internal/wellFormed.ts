/**
 * A look at MessagePack bytes from outside before they are decoded: one whole value, not too deep, no extension types.
 *
 * A decoder allocates what an array's header claims before it has seen an element, so that 1 MiB of nested headers asks it for
 * gigabytes. Nothing is allocated here: whoever claims more than the bytes can hold is found out first.
 */

/** Containers in each other; a message of ours has five. */
export const maxDepth = 32

/** What is wrong with the bytes, or undefined. */
export const flawOf = (bytes: Uint8Array): string | undefined => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const end = bytes.byteLength
  /** Values still to come, for each container that is open. */
  const open: Array<number> = []
  let at = 0

  const read = (width: 1 | 2 | 4): number => {
    const from = at
    at += width
    if (at > end) return 0
    return width === 1 ? view.getUint8(from) : width === 2 ? view.getUint16(from) : view.getUint32(from)
  }

  do {
    if (at >= end) return truncated(end)
    const head = view.getUint8(at++)
    let values = 0
    if (head < 0x80 || head >= 0xe0) values = 0
    else if (head < 0x90) values = (head & 0x0f) * 2
    else if (head < 0xa0) values = head & 0x0f
    else if (head < 0xc0) at += head & 0x1f
    else {
      const form = forms[head - 0xc0]
      if (form === undefined) return `there is no type 0x${head.toString(16)}`
      if (form === "ext") return "extension types are not part of the protocol"
      const [what, width] = form
      const length = what === "fixed" ? width : read(width)
      if (what === "array") values = length
      else if (what === "map") values = length * 2
      else at += length
    }
    // Each value takes a byte at least.
    if (values > end - at || at > end) return truncated(end)
    if (values > 0) {
      if (open.length === maxDepth) return `more than ${maxDepth} maps and arrays in each other`
      open.push(values)
      continue
    }
    for (let left = open.pop(); left !== undefined; left = open.pop()) {
      if (left > 1) {
        open.push(left - 1)
        break
      }
    }
  } while (open.length > 0)
  return at === end ? undefined : `${end - at} bytes after the end of the value`
}

const truncated = (length: number) => `truncated: the value goes on after its ${length} bytes`

type Form = "ext" | readonly ["fixed", number] | readonly ["bytes" | "array" | "map", 1 | 2 | 4]

/** Of the heads from 0xc0 to 0xdf, in their order: what follows, and in how many bytes it, or its length, is written. */
const forms: ReadonlyArray<Form | undefined> = [
  ["fixed", 0], // nil
  undefined,
  ["fixed", 0], // false
  ["fixed", 0], // true
  ["bytes", 1],
  ["bytes", 2],
  ["bytes", 4],
  "ext",
  "ext",
  "ext",
  ["fixed", 4], // float
  ["fixed", 8],
  ["fixed", 1], // unsigned
  ["fixed", 2],
  ["fixed", 4],
  ["fixed", 8],
  ["fixed", 1], // signed
  ["fixed", 2],
  ["fixed", 4],
  ["fixed", 8],
  "ext",
  "ext",
  "ext",
  "ext",
  "ext",
  ["bytes", 1], // text
  ["bytes", 2],
  ["bytes", 4],
  ["array", 2],
  ["array", 4],
  ["map", 2],
  ["map", 4]
]
