/**
 * The keys that tokens are signed and checked by, read from text: a JWK or a set of them, PEM blocks, or else a secret on each
 * line. Each key has the algorithms that it is good for, so that nobody may choose another for it. Nothing of a key is in an error.
 */
import { createPrivateKey, createPublicKey, createSecretKey, type KeyObject } from "node:crypto"
import * as Predicate from "effect/Predicate"

export interface TokenKey {
  readonly key: KeyObject
  /** Of JWS. The first is the one that it signs with. */
  readonly algorithms: readonly [string, ...Array<string>]
  readonly kid?: string
}

/** RFC 7518, section 3.2: an HS256 key has at least the bytes of its hash. */
const leastSecretBytes = 32
/** RFC 7518, section 3.3: with fewer no token of it is taken. */
const leastRsaBits = 2048

const pemBlock = /-----BEGIN [A-Z ]+-----[\s\S]+?-----END [A-Z ]+-----/g

/** `problem` is a text for people. */
export type ParsedKeys = ReadonlyArray<TokenKey> | { readonly problem: string }

export const parseTokenKeys = (text: string): ParsedKeys => {
  const trimmed = text.trim()
  try {
    const keys = trimmed.startsWith("{")
      ? jwksOf(JSON.parse(trimmed)).map(keyOfJwk)
      : trimmed.startsWith("-----BEGIN")
        ? [...trimmed.matchAll(pemBlock)].map(([pem]) => asymmetric(keyOfPem(pem)))
        : secretsOf(trimmed).map((secret) => symmetric(Buffer.from(secret)))
    return keys.length === 0 ? { problem: "there is no key in it" } : keys
  } catch (error) {
    // Our own words are told; a parser's might quote what it was given.
    return { problem: error instanceof KeyProblem ? error.message : "it is no JWK, no PEM and no secret" }
  }
}

class KeyProblem extends Error {}

const jwksOf = (json: unknown): ReadonlyArray<Record<string, unknown>> => {
  if (Predicate.hasProperty(json, "keys") && Array.isArray(json.keys)) return json.keys
  return Predicate.isObject(json) ? [json] : []
}

const keyOfJwk = (jwk: Record<string, unknown>): TokenKey => {
  const { k, kid, kty } = jwk
  const named = typeof kid === "string" ? { kid } : {}
  if (kty === "oct") return { ...symmetric(Buffer.from(String(k), "base64url")), ...named }
  const format = { key: jwk, format: "jwk" } as const
  return { ...asymmetric("d" in jwk ? createPrivateKey(format) : createPublicKey(format)), ...named }
}

const secretsOf = (text: string): ReadonlyArray<string> => {
  const secrets = text.split(/\s+/).filter(Boolean)
  // As many places show a public key, in one line or in several: as a secret it would be one that everybody knows.
  if ([...secrets, secrets.join("")].some(isBareKey)) {
    throw new KeyProblem("there is a key without its BEGIN line in it")
  }
  return secrets
}

/** What would be a PEM block with its first and last line. */
const isBareKey = (base64: string): boolean => {
  const key = Buffer.from(base64, "base64")
  return [
    () => createPublicKey({ key, format: "der", type: "spki" }),
    () => createPrivateKey({ key, format: "der", type: "pkcs8" })
  ].some((parse) => {
    try {
      return parse().type !== "secret"
    } catch {
      return false
    }
  })
}

const keyOfPem = (pem: string): KeyObject =>
  pem.includes("PRIVATE KEY-----") ? createPrivateKey(pem) : createPublicKey(pem)

const symmetric = (secret: Buffer): TokenKey => {
  if (secret.length < leastSecretBytes) {
    throw new KeyProblem(
      `a secret has ${leastSecretBytes} bytes at least, for example of 'openssl rand -hex 32'`
    )
  }
  return { key: createSecretKey(secret), algorithms: ["HS256"] }
}

const asymmetric = (key: KeyObject): TokenKey => {
  const { asymmetricKeyDetails, asymmetricKeyType } = key
  const curve = asymmetricKeyDetails?.namedCurve
  if (asymmetricKeyType === "ed25519") return { key, algorithms: ["EdDSA", "Ed25519"] }
  const bits = asymmetricKeyDetails?.modulusLength
  if (asymmetricKeyType === "rsa" && bits !== undefined && bits < leastRsaBits) {
    throw new KeyProblem(`an RSA key has ${leastRsaBits} bits at least, not ${bits}`)
  }
  if (asymmetricKeyType === "rsa") return { key, algorithms: ["RS256", "PS256"] }
  if (asymmetricKeyType === "ec" && curve === "prime256v1") return { key, algorithms: ["ES256"] }
  if (asymmetricKeyType === "ec" && curve === "secp384r1") return { key, algorithms: ["ES384"] }
  throw new KeyProblem(`keys are Ed25519, RSA, P-256 or P-384, not ${asymmetricKeyType ?? "unknown"}`)
}

/** What checks what this key signs. */
export const checkingKey = ({ key, ...rest }: TokenKey): TokenKey => ({
  ...rest,
  key: key.type === "private" ? createPublicKey(key) : key
})

export const canSign = ({ key }: TokenKey): boolean => key.type !== "public"
