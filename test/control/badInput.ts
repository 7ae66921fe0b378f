/** Bad input of every sort, made out of a good one: bytes that are no message, and messages whose fields are not what they should be. */
import { decode, encode, ExtData } from "@msgpack/msgpack"
import { seededRandom } from "@ebb/actors/testing"

export interface BadBytes {
  readonly name: string
  readonly bytes: Uint8Array
}

const mebibyte = 1024 * 1024

const repeated = (part: ReadonlyArray<number>): Uint8Array =>
  Uint8Array.from({ length: mebibyte }, (_, n) => part[n % part.length] ?? 0)

const random = seededRandom(20_261_123)
const garbage = Uint8Array.from({ length: mebibyte }, () => Math.floor(random() * 256))
const listsInEachOther = repeated([0x91])
const mapsInEachOther = repeated([0x81, 0xa1, 0x61])
const claims = repeated([0xdd, 0, 1, 0, 0])

/** Bytes that no reader of the wire may take, whatever message they claim to be. */
export const malformed = (good: Uint8Array): ReadonlyArray<BadBytes> => [
  ...Array.from({ length: good.length - 1 }, (_, n) => ({
    name: `cut off after ${n + 1} of ${good.length} bytes`,
    bytes: good.subarray(0, n + 1)
  })),
  { name: "something behind it", bytes: Uint8Array.of(...good, 0) },
  { name: "a number", bytes: encode(1) },
  { name: "a text", bytes: encode("room") },
  { name: "nothing, said", bytes: encode(null) },
  { name: "a list", bytes: encode([1]) },
  { name: "the byte without meaning", bytes: Uint8Array.of(0xc1) },
  { name: "1 MiB of garbage", bytes: garbage },
  { name: "1 MiB of lists in each other", bytes: listsInEachOther },
  { name: "1 MiB of maps in each other", bytes: mapsInEachOther },
  { name: "1 MiB of claims of 65,536 elements", bytes: claims },
  { name: "a claim of 2^32 - 1 fields", bytes: Uint8Array.of(0xdf, 0xff, 0xff, 0xff, 0xff) },
  { name: "a key that is no text", bytes: Uint8Array.of(0x81, 0xc0, 0x01) },
  { name: "a key __proto__", bytes: withField(good, encode("__proto__"), encode({ roomId: "r" })) },
  {
    name: "an extension type",
    bytes: withField(good, encode("x"), encode(new ExtData(1, Uint8Array.of(1, 2))))
  },
  { name: "a timestamp", bytes: withField(good, encode("x"), encode(new Date(0))) },
  { name: "forty lists in each other", bytes: withField(good, encode("x"), nested(40)) }
]

/** The good map with one field wrong: one of each sort for each field it has, at any depth. */
export const wrongFields = (good: Readonly<Record<string, unknown>>): ReadonlyArray<BadBytes> =>
  Object.entries(good).flatMap(([key, value]) => [
    ...wrongFor(value).map(([what, wrong]) => ({
      name: `${key}: ${what}`,
      bytes: encode({ ...good, [key]: wrong })
    })),
    ...(isMap(value)
      ? wrongFields(value).map(({ bytes, name }) => ({
          name: `${key}.${name}`,
          bytes: encode({ ...good, [key]: decode(bytes) })
        }))
      : [])
  ])

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const kindOf = (value: unknown): string =>
  value === null
    ? "null"
    : Array.isArray(value)
      ? "list"
      : value instanceof Uint8Array
        ? "bytes"
        : typeof value

const wrongFor = (value: unknown): ReadonlyArray<readonly [string, unknown]> => {
  const others = kinds.filter(([, other]) => kindOf(other) !== kindOf(value))
  if (typeof value === "string") return [...others, ["1 MiB of text", "a".repeat(mebibyte - 1024)]]
  if (typeof value !== "number") return others
  return [...others, ...["NaN", "Infinity", "-Infinity", "-1", "1e300"].map((n) => [n, Number(n)] as const)]
}

const kinds = [
  ["a number", 7],
  ["a text", "seven"],
  ["yes", true],
  ["nothing", null],
  ["a list", [1, 2]],
  ["a map", { a: 1 }],
  ["bytes", new Uint8Array(3)]
] as const

/** What is no id, whoever is meant by it. */
export const notIds: ReadonlyArray<readonly [string, string]> = [
  ["empty", ""],
  ["with a dot", "a.b"],
  ["a star", "*"],
  ["an arrow", ">"],
  ["with a space", "a b"],
  ["with a line's end", "a\n"],
  ["with a slash", "../a"],
  ["with a zero", "a\0"],
  ["of 65 characters", "a".repeat(65)],
  ["beyond ASCII", "ä"]
]

const nested = (depth: number): Uint8Array =>
  Uint8Array.of(...Array.from({ length: depth }, () => 0x91), 0x01)

/** A map of up to 14 fields, with one more of which only the bytes are known. */
export const withField = (good: Uint8Array, key: Uint8Array, value: Uint8Array): Uint8Array =>
  Buffer.concat([Uint8Array.of((good[0] ?? 0) + 1), good.subarray(1), key, value])
