/**
 * Who may come into a room by WebRTC, and what he may send: says it of a token, by the keys that this node was started with.
 * Refuses typed, and says nothing of a token but why it is refused.
 */
import { Id } from "@ebb/actors"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { errors, jwtVerify } from "jose"
import { TokenKeyInvalid } from "../MediaError.ts"
import { NoTokenKey, TokenRefused, type TokenRefusal } from "../protocol/Common.ts"
import { checkingKey, parseTokenKeys, type TokenKey } from "./TokenKeys.ts"

export interface Admitted {
  readonly peerId: string
  readonly can: ReadonlySet<string>
}

/** Seconds by which the clocks of signer and node may differ. */
const clockTolerance = 5

const Claims = Schema.Struct({
  room: Id,
  sub: Id,
  /** Open: a later version may know another. */
  can: Schema.Array(Schema.String),
  exp: Schema.Number
})
const decodeClaims = Schema.decodeUnknownOption(Claims)

export class TokenCheck extends Context.Service<
  TokenCheck,
  {
    readonly admit: (token: string, roomId: string) => Effect.Effect<Admitted, NoTokenKey | TokenRefused>
  }
>()("@ebb/media/TokenCheck") {
  /** Each text as of `parseTokenKeys`. Several: what any of them signed is good, which is how keys are changed. */
  static readonly make = Effect.fnUntraced(function* (texts: ReadonlyArray<Redacted.Redacted>) {
    const keys: Array<TokenKey> = []
    for (const text of texts) {
      const parsed = parseTokenKeys(Redacted.value(text))
      if ("problem" in parsed) return yield* new TokenKeyInvalid({ problem: parsed.problem })
      keys.push(...parsed.map(checkingKey))
    }
    const refused = (reason: TokenRefusal) => new TokenRefused({ reason })

    return TokenCheck.of({
      admit: Effect.fnUntraced(function* (token, roomId) {
        if (keys.length === 0) return yield* new NoTokenKey()
        const now = DateTime.toDateUtc(yield* DateTime.now)
        // Unless a key knows it, nobody's words about it count.
        let reason: TokenRefusal = "signature"
        for (const key of keys) {
          const verified = yield* Effect.result(verify(token, key, now))
          if (Result.isFailure(verified)) {
            if (verified.failure !== "signature") reason = verified.failure
            continue
          }
          const claims = decodeClaims(verified.success)
          if (claims._tag === "None") return yield* refused("malformed")
          const { can, room, sub } = claims.value
          if (room !== roomId) return yield* refused("room")
          return { peerId: sub, can: new Set(can) }
        }
        return yield* refused(reason)
      })
    })
  })

  static layer(texts: ReadonlyArray<Redacted.Redacted>) {
    return Layer.effect(TokenCheck, TokenCheck.make(texts))
  }
}

const verify = (token: string, { algorithms, key }: TokenKey, currentDate: Date) =>
  Effect.tryPromise({
    try: async () => {
      const { payload } = await jwtVerify(token, key, {
        algorithms: [...algorithms],
        currentDate,
        clockTolerance,
        requiredClaims: ["exp"]
      })
      return payload
    },
    catch: (error): TokenRefusal => {
      if (error instanceof errors.JWTExpired) return "expired"
      if (error instanceof errors.JWTClaimValidationFailed)
        return error.claim === "nbf" ? "early" : "malformed"
      if (error instanceof errors.JWSInvalid || error instanceof errors.JWTInvalid) return "malformed"
      // Another's key, or an algorithm that is not this key's.
      return "signature"
    }
  })
