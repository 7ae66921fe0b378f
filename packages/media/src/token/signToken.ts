/** Makes tokens: for a backend in TypeScript, and for `ebb token`. In any other language a JWT library does the same. */
import { SignJWT } from "jose"
import type { Grant } from "../protocol/WebRtc.ts"
import { canSign, parseTokenKeys } from "./TokenKeys.ts"

export interface TokenClaims {
  readonly roomId: string
  readonly peerId: string
  /** What the peer may send. */
  readonly can: ReadonlyArray<Grant>
  /** Seconds from now on. Default 3600. What was opened with a token lives on when it expires. */
  readonly expiresInSeconds?: number
}

/**
 * `key` is a secret of 32 bytes or more, a private key as PEM, or a private or secret JWK, or a set of such: the first that can
 * sign does. Rejects with a `TypeError`, which has nothing of the key, when there is none.
 */
export const signToken = async (
  { can, expiresInSeconds = 3600, peerId, roomId }: TokenClaims,
  key: string
): Promise<string> => {
  const keys = parseTokenKeys(key)
  if ("problem" in keys) throw new TypeError(`the key cannot be used: ${keys.problem}`)
  const signing = keys.find(canSign)
  if (signing === undefined) throw new TypeError("the key cannot be used: a public key signs nothing")
  const { algorithms, kid } = signing
  return new SignJWT({ room: roomId, can })
    .setProtectedHeader({ alg: algorithms[0], typ: "JWT", ...(kid === undefined ? {} : { kid }) })
    .setSubject(peerId)
    .setIssuedAt()
    .setExpirationTime(`${expiresInSeconds} s`)
    .sign(signing.key)
}
