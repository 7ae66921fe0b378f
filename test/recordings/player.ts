/** A recording in the player of a real Chromium, as a person would open it: how long it says it is, a seek, and played to its end. */
import { readFile } from "node:fs/promises"
import { basename } from "node:path"
import * as Effect from "effect/Effect"
import type { Browser, Page } from "playwright-core"

export interface Played {
  readonly durationMs: number
  readonly width: number
  readonly height: number
  /** Where it stood after the seek, and how many colours its picture had there, of a few hundred points. */
  readonly soughtMs: number
  readonly colours: number
  /** From there to its `ended`: what was decoded of the picture, and where it stopped. */
  readonly frames: number
  readonly endedMs: number
}

export interface PlayOptions {
  readonly file: string
  /** Where it is sent first; from there it is played to its end, four times as fast as it was. */
  readonly seekToMs: number
  /** Where a PNG of the player goes, as it stands after the seek. */
  readonly picture?: string | undefined
}

export const playInBrowser = Effect.fnUntraced(function* (browser: Browser, options: PlayOptions) {
  const page = yield* Effect.acquireRelease(
    Effect.promise(() => browser.newPage({ viewport: { width: 720, height: 470 } })),
    (page) => Effect.promise(() => page.close())
  )
  return yield* Effect.promise(() => play(page, options))
}, Effect.scoped)

const html = (title: string) => `<!doctype html>
<style>body { margin: 16px; background: #1b1b1f; color: #ddd; font: 14px monospace } video { width: 688px; height: 387px; background: black }</style>
<p>${title}</p><video controls></video>`

const play = async (page: Page, { file, picture, seekToMs }: PlayOptions): Promise<Played> => {
  const body = await readFile(file)
  await page.route("**/*", (route) =>
    route.request().url().endsWith("/recording")
      ? route.fulfill({ contentType: file.endsWith(".mp4") ? "video/mp4" : "video/webm", body })
      : route.fulfill({ contentType: "text/html", body: html(basename(file)) })
  )
  await page.goto("http://localhost/")
  const found = await page.evaluate(async (seekToMs) => {
    const video = document.querySelector("video")
    if (video === null) throw new Error("no player")
    const happens = (name: string) =>
      new Promise<void>((resolve, reject) => {
        video.addEventListener(name, () => resolve(), { once: true })
        video.addEventListener("error", () => reject(new Error(video.error?.message)), { once: true })
      })
    video.muted = true
    // As a file on disk, in which a player may go where it likes.
    video.src = URL.createObjectURL(await (await fetch("/recording")).blob())
    await happens("loadedmetadata")
    video.currentTime = seekToMs / 1000
    await happens("seeked")
    const canvas = document.createElement("canvas")
    canvas.width = 24
    canvas.height = 16
    const context = canvas.getContext("2d")
    const colours = new Set<string>()
    // It has sought when the frame is decoded; where the processor is busy it is painted later. One that never is has one colour.
    for (let paints = 0; colours.size <= 1 && paints < 300; paints++) {
      await new Promise(requestAnimationFrame)
      context?.drawImage(video, 0, 0, canvas.width, canvas.height)
      const points = context?.getImageData(0, 0, canvas.width, canvas.height).data ?? []
      colours.clear()
      for (let at = 0; at < points.length; at += 4) colours.add(points.slice(at, at + 3).join())
    }
    return {
      durationMs: video.duration * 1000,
      width: video.videoWidth,
      height: video.videoHeight,
      soughtMs: video.currentTime * 1000,
      colours: colours.size
    }
  }, seekToMs)
  if (picture !== undefined) {
    await page.evaluate(async () => {
      const video = document.querySelector("video")
      if (video === null) throw new Error("no player")
      // Until it has played, a player shows that it loads.
      await video.play()
      await new Promise((resolve) => video.requestVideoFrameCallback(resolve))
      video.pause()
    })
    await page.mouse.move(0, 0)
    await page.screenshot({ path: picture })
  }
  const end = await page.evaluate(async () => {
    const video = document.querySelector("video")
    if (video === null) throw new Error("no player")
    const ended = new Promise<void>((resolve, reject) => {
      video.addEventListener("ended", () => resolve(), { once: true })
      video.addEventListener("error", () => reject(new Error(video.error?.message)), { once: true })
    })
    const before = video.getVideoPlaybackQuality().totalVideoFrames
    video.playbackRate = 4
    await video.play()
    await ended
    return {
      frames: video.getVideoPlaybackQuality().totalVideoFrames - before,
      endedMs: video.currentTime * 1000
    }
  })
  return { ...found, ...end }
}
