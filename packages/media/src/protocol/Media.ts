/** What is said of media whichever way it comes: plain RTP or WebRTC. */
import * as Schema from "effect/Schema"

export const MediaKind = Schema.Literals(["audio", "video"])

const shortText = Schema.String.check(Schema.isMaxLength(64))

/** A codec's fmtp, by name: `profile-level-id` and `packetization-mode` of H.264, `profile-id` of VP9, ... */
export const FormatParameters = Schema.Record(
  Schema.String,
  Schema.Union([Schema.Finite, Schema.String.check(Schema.isMaxLength(256))])
).check(
  // Bytes would do for a map of numbers, were their places names.
  Schema.isPropertyNames(Schema.String.check(Schema.isPattern(/^[A-Za-z][\w.-]{0,63}$/))),
  Schema.isMaxProperties(64)
)

/** A free label of what is sent: camera, screen, microphone, ... */
export const Source = shortText
