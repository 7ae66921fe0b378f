/**
 * A peer in a real Chromium that sends into a room of a cluster, over control commands and WebRTC as an application would:
 *
 *     const browser = yield* openBrowser
 *     const ada = yield* browserPeer(browser, { call, roomId: "talk", token: yield* tokenFor("talk", "ada") })
 *     yield* ada.open                                   // capabilities, transport
 *     yield* ada.camera({ producerId: "ada-camera" })   // VP8 in three layers, 960 x 540 by default
 *     yield* ada.screen({ producerId: "ada-screen", text: "slides" })
 *     yield* ada.microphone({ producerId: "ada-microphone" })
 *     yield* ada.page((peer) => peer.openData({ producerId: "ada-chat", label: "chat", ordered: true }))
 *
 * The node needs `webRtcEnvironment` (`cluster.node("a", { env: webRtcEnvironment })`). Browser and pages close with the scope. A
 * picture that is `drawn` shows its text, the time, and a bar that moves; `hue` tells one from another.
 */
import type { ControlClient } from "@ebb/media/protocol"
import { signToken } from "@ebb/media/token"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { join } from "node:path"
import type { Browser } from "playwright-core"
import { rolldown } from "rolldown"
import { launchChromium } from "./chromium.ts"
import type { PagePeer, Picture, SendVideo } from "./page.ts"

export const tokenSecret = "a-secret-of-the-tests-and-of-nothing-else"

/** What a node has to be started with, so that it lets browsers in. */
export const webRtcEnvironment = { EBB_TOKEN_SECRET: tokenSecret }

export const tokenFor = (
  roomId: string,
  peerId: string,
  can: ReadonlyArray<"audio" | "video" | "data"> = ["audio", "video", "data"]
) => Effect.promise(() => signToken({ roomId, peerId, can }, tokenSecret))

export const openBrowser: Effect.Effect<Browser, never, Scope.Scope> = Effect.acquireRelease(
  Effect.promise(launchChromium),
  (browser) => Effect.promise(() => browser.close())
)

/** page.ts as one script. */
const bundle = Effect.promise(async () => {
  const built = await rolldown({
    input: join(import.meta.dirname, "page.ts"),
    platform: "browser",
    logLevel: "silent"
  })
  const { output } = await built.generate({ format: "iife", name: "ebbPage" })
  await built.close()
  return output[0].code
})

/** Three layers of a camera, each half of the next in width and height. */
export const simulcast: SendVideo["encodings"] = [
  { scaleResolutionDownBy: 4, maxBitrate: 100_000 },
  { scaleResolutionDownBy: 2, maxBitrate: 250_000 },
  { scaleResolutionDownBy: 1, maxBitrate: 600_000 }
]

type Send = Partial<Omit<SendVideo, "picture">> & Partial<Picture> & { readonly producerId: string }

export interface BrowserPeer {
  /** What the browser can send of what the room takes, as `video/VP8`; a transport is open after it. */
  readonly open: Effect.Effect<ReadonlyArray<string>>
  readonly camera: (options: Send) => Effect.Effect<void>
  /** A second picture, drawn: one layer, 1280 x 720, 5 frames a second by default. */
  readonly screen: (options: Send) => Effect.Effect<void>
  readonly microphone: (options: {
    readonly producerId: string
    readonly source?: string
  }) => Effect.Effect<void>
  /** Anything that the page can do. `act` runs there: of its surroundings here it has `input` alone. */
  readonly page: <A, I>(act: (peer: PagePeer, input: I) => Promise<A> | A, input?: I) => Effect.Effect<A>
  /** The tab is gone, and nobody says goodbye. */
  readonly crash: Effect.Effect<void>
}

export interface BrowserPeerOptions {
  readonly call: ControlClient["call"]
  readonly roomId: string
  /** Told apart by it on the page; the node knows the peer by the token. */
  readonly transportId?: string
  readonly token: string
}

export const browserPeer = Effect.fnUntraced(function* (
  browser: Browser,
  { call, roomId, token, transportId = "t" }: BrowserPeerOptions
): Effect.fn.Return<BrowserPeer, never, Scope.Scope> {
  const script = yield* bundle
  const run = Effect.runPromiseWith(yield* Effect.context<never>())
  const page = yield* Effect.acquireRelease(
    Effect.promise(() => browser.newPage()),
    (page) => Effect.promise(() => page.close())
  )
  /** As JSON both ways, as over any gateway. A refusal reaches the page as an error with the tag in it. */
  const ask = (command: string, input: Readonly<Record<string, unknown>>) => {
    const bearer = command.startsWith("webrtc.") ? { token } : {}
    const asked = call as (
      command: string,
      input: unknown
    ) => Effect.Effect<unknown, { _tag: string; message: string }>
    return run(
      asked(command, { roomId, ...bearer, ...(JSON.parse(JSON.stringify(input)) as object) }).pipe(
        Effect.catch((error) => Effect.die(new Error(`${error._tag}: ${error.message}`)))
      )
    )
  }
  yield* Effect.promise(async () => {
    await page.route("**/*", (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html>" }))
    await page.exposeFunction("ask", ask)
    // A name that browsers take for secure: only there a page may use the camera.
    await page.goto("http://localhost/")
    await page.addScriptTag({ content: script })
  })

  const onPage = <A, I>(act: (peer: PagePeer, input: I) => Promise<A> | A, input?: I) =>
    Effect.promise(() => page.evaluate<A>(`(${String(act)})(globalThis.pagePeer, ${JSON.stringify(input)})`))
  const withInput = <I>(act: "sendVideo" | "sendAudio", input: I) =>
    Effect.promise(() => page.evaluate<void>(`globalThis.pagePeer.${act}(${JSON.stringify(input)})`))
  const send =
    (from: Picture["from"], defaults: Omit<Picture, "from"> & Omit<SendVideo, "picture" | "producerId">) =>
    (options: Send) => {
      const { encodings, mimeType, producerId, source, ...picture } = { ...defaults, ...options }
      const { fps, height, hue, text, width } = picture
      return withInput("sendVideo", {
        producerId,
        source,
        picture: { from: options.from ?? from, fps, height, hue, text, width },
        ...(encodings === undefined ? {} : { encodings }),
        ...(mimeType === undefined ? {} : { mimeType })
      })
    }

  return {
    open: Effect.promise(() =>
      page.evaluate(async (id) => {
        const types = await globalThis.pagePeer.load()
        await globalThis.pagePeer.open(id)
        return types
      }, transportId)
    ),
    camera: send("camera", {
      source: "camera",
      encodings: simulcast,
      mimeType: "video/VP8",
      // Chromium sends no third layer of anything smaller.
      width: 960,
      height: 540,
      fps: 15,
      text: "",
      hue: 200
    }),
    screen: send("drawn", {
      source: "screen",
      mimeType: "video/VP8",
      width: 1280,
      height: 720,
      fps: 5,
      text: "screen",
      hue: 30
    }),
    microphone: ({ producerId, source = "microphone" }) => withInput("sendAudio", { producerId, source }),
    page: onPage,
    crash: Effect.promise(() => page.close({ runBeforeUnload: false }))
  }
})
