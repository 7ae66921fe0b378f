import { generateKeyPairSync, randomBytes } from "node:crypto"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import { SignJWT } from "jose"
import { signToken } from "../src/token/signToken.ts"
import { TokenCheck } from "../src/token/TokenCheck.ts"
import { parseTokenKeys } from "../src/token/TokenKeys.ts"

const secret = "0123456789abcdef0123456789abcdef"
const claims = { roomId: "talk", peerId: "ada", can: ["audio", "data"] } as const
const sign = (key: string, more: Partial<Parameters<typeof signToken>[0]> = {}) =>
  Effect.promise(() => signToken({ ...claims, ...more }, key))
const checkBy = (...keys: ReadonlyArray<string>) => TokenCheck.make(keys.map((key) => Redacted.make(key)))
const reasonOf = (check: TokenCheck["Service"], token: string) =>
  Effect.map(Effect.flip(check.admit(token, "talk")), (error) =>
    error._tag === "TokenRefused" ? error.reason : error._tag
  )

const pem = (type: "ed25519" | "rsa" | "P-256" | "P-384") => {
  const pair =
    type === "rsa"
      ? generateKeyPairSync("rsa", { modulusLength: 2048 })
      : type === "ed25519"
        ? generateKeyPairSync("ed25519")
        : generateKeyPairSync("ec", { namedCurve: type })
  const exported = {
    privatePem: pair.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    publicPem: pair.publicKey.export({ type: "spki", format: "pem" }).toString(),
    privateJwk: pair.privateKey.export({ format: "jwk" }),
    publicJwk: pair.publicKey.export({ format: "jwk" })
  }
  return exported
}

it.live.each(["ed25519", "rsa", "P-256", "P-384"] as const)(
  "what a private key of %s signs is checked by its public one, as PEM and as JWK",
  (type) =>
    Effect.gen(function* () {
      const keys = pem(type)
      for (const key of [keys.privatePem, JSON.stringify({ ...keys.privateJwk, kid: "k1" })]) {
        const token = yield* sign(key)
        for (const known of [keys.publicPem, JSON.stringify({ keys: [keys.publicJwk] }), keys.privatePem]) {
          const { admit } = yield* checkBy(secret, known)
          const { can, peerId } = yield* admit(token, "talk")
          expect([peerId, ...can]).toEqual(["ada", "audio", "data"])
        }
        expect(yield* reasonOf(yield* checkBy(secret, pem(type).publicPem), token)).toBe("signature")
      }
    })
)

it.live("a set of keys has secrets and public keys, and any of them is good", () =>
  Effect.gen(function* () {
    const { privatePem, publicJwk } = pem("ed25519")
    const oct = { kty: "oct", k: Buffer.from(secret).toString("base64url"), kid: "old" }
    const check = yield* checkBy(JSON.stringify({ keys: [oct, publicJwk] }))
    for (const key of [secret, privatePem])
      expect((yield* check.admit(yield* sign(key), "talk")).peerId).toBe("ada")
    expect(yield* reasonOf(check, yield* sign(`${secret}x`))).toBe("signature")
  })
)

it.effect("a token is good until it expires, by the node's clock and 5 s more", () =>
  Effect.gen(function* () {
    const at = 1_795_000_000
    const check = yield* checkBy(secret)
    const token = yield* Effect.promise(() =>
      new SignJWT({ room: "talk", can: ["audio"], nbf: at, exp: at + 60, sub: "ada" })
        .setProtectedHeader({ alg: "HS256" })
        .sign(Buffer.from(secret))
    )
    yield* TestClock.setTime((at - 10) * 1000)
    expect(yield* reasonOf(check, token)).toBe("early")
    yield* TestClock.setTime((at + 64) * 1000)
    expect((yield* check.admit(token, "talk")).peerId).toBe("ada")
    yield* TestClock.setTime((at + 66) * 1000)
    expect(yield* reasonOf(check, token)).toBe("expired")
  })
)

it.live("a token without an end, a peer or grants is none, and one that says more is good", () =>
  Effect.gen(function* () {
    const check = yield* checkBy(secret)
    const all = { room: "talk", can: ["audio", "smell"], exp: 4_000_000_000, sub: "ada", name: "Ada" }
    const token = (without?: string) =>
      Effect.promise(() =>
        new SignJWT(Object.fromEntries(Object.entries(all).filter(([name]) => name !== without)))
          .setProtectedHeader({ alg: "HS256" })
          .sign(Buffer.from(secret))
      )
    for (const missing of ["room", "can", "exp", "sub"]) {
      expect([missing, yield* reasonOf(check, yield* token(missing))]).toEqual([missing, "malformed"])
    }
    expect((yield* check.admit(yield* token(), "talk")).can).toEqual(new Set(["audio", "smell"]))

    // Each key has its algorithms, and a token does not choose.
    const other = yield* Effect.promise(() =>
      new SignJWT(all).setProtectedHeader({ alg: "HS512" }).sign(Buffer.from(secret.repeat(2)))
    )
    expect(yield* reasonOf(yield* checkBy(secret.repeat(2)), other)).toBe("signature")
  })
)

it.live("a key without its BEGIN line is no secret: everybody may have it", () =>
  Effect.gen(function* () {
    for (const { privatePem, publicPem } of [pem("ed25519"), pem("rsa"), pem("P-256")]) {
      for (const lines of [publicPem, privatePem].map((text) => text.trim().split("\n").slice(1, -1))) {
        const base64 = lines.join("")
        const base64url = Buffer.from(base64, "base64").toString("base64url")
        for (const text of [base64, base64url, lines.join("\n"), `${secret}\n${base64}`]) {
          const { message } = yield* Effect.flip(checkBy(text))
          expect(message).toBe("a key for tokens cannot be used: there is a key without its BEGIN line in it")
        }
      }
    }
    const random = [randomBytes(32), randomBytes(400)].map((bytes) => bytes.toString("base64"))
    expect(parseTokenKeys(random.join("\n"))).toHaveLength(2)
  })
)

it.live("an RSA key that is too short for any token is refused at once", () =>
  Effect.gen(function* () {
    const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 1024 })
    const text = publicKey.export({ type: "spki", format: "pem" }).toString()
    expect((yield* Effect.flip(checkBy(text))).message).toBe(
      "a key for tokens cannot be used: an RSA key has 2048 bits at least, not 1024"
    )
  })
)

it.live("a key that cannot be used is refused by words that have nothing of it", () =>
  Effect.gen(function* () {
    const [, line = ""] = pem("ed25519").privatePem.split("\n")
    const unusable = [
      "too-short-a-secret",
      `{"kty":"oct","k":"c2hvcnQ"}`,
      `{"kty":"EC","crv":"secp256k1","d":"${line}"}`,
      `{"keys":`,
      `-----BEGIN PRIVATE KEY-----\n${line.slice(0, 20)}\n-----END PRIVATE KEY-----`,
      "-----BEGIN",
      generateKeyPairSync("x25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
      ""
    ]
    for (const text of unusable) {
      const { message } = yield* Effect.flip(checkBy(secret, text))
      expect(message).toMatch(/^a key for tokens cannot be used: /)
      expect(yield* Effect.flip(Effect.tryPromise(() => signToken(claims, text)))).toBeDefined()
      for (const part of text.split(/[\s"{}:,]+/).filter((part) => part.length > 10 && !part.includes("-")))
        expect(message).not.toContain(part)
    }
    const { publicPem } = pem("ed25519")
    const parsed = parseTokenKeys(publicPem)
    expect("problem" in parsed ? parsed : parsed.length).toBe(1)
    const told = yield* Effect.flip(Effect.tryPromise(() => signToken(claims, publicPem)))
    expect(String(told.cause)).toBe("TypeError: the key cannot be used: a public key signs nothing")
  })
)
