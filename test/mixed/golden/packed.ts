/** MessagePack, to make a plain value bytes and back: this build's own, whose bytes are golden too. */
import { pack, unpack } from "@ebb/actors"
import type * as Effect from "effect/Effect"

export const packed = (value: unknown): Uint8Array => pack(value ?? null)
export const unpacked = (bytes: Uint8Array): Effect.Effect<unknown, unknown> => unpack(bytes)
