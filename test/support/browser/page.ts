/**
 * The page of a peer: mediasoup-client as any web application uses it, with `ask` for its signalling. Bundled by browserPeer.ts,
 * which calls what is on `globalThis.pagePeer`. What it draws is made to be recognised in a recording.
 */
import { Device } from "mediasoup-client"
import type {
  DataProducer,
  DtlsParameters,
  Producer,
  RtpEncodingParameters,
  Transport,
  TransportOptions
} from "mediasoup-client/types"

/** A control command of the peer's room, with its token, to the cluster. */
type Ask = (command: string, input: unknown) => Promise<unknown>

export interface Picture {
  /** `camera`: the browser's own (fake) device. `drawn`: a moving picture with a text and the time in it, as of a screen. */
  readonly from: "camera" | "drawn"
  readonly width: number
  readonly height: number
  readonly fps: number
  readonly text: string
  /** Degrees, of a drawn picture's background. */
  readonly hue: number
}

export interface SendVideo {
  readonly producerId: string
  readonly source: string
  readonly picture: Picture
  /** As in the router's capabilities: video/VP8, video/VP9, ... Default: the first that both know. */
  readonly mimeType?: string
  readonly encodings?: ReadonlyArray<RtpEncodingParameters>
}

/** Every call names what it is about by the id that the node knows it by. */
export interface PagePeer {
  /** What this browser can send of what the room takes, as `video/VP8`. */
  load(): Promise<ReadonlyArray<string>>
  open(transportId: string): Promise<void>
  sendVideo(video: SendVideo): Promise<void>
  /** The browser's own (fake) microphone: a beep each second. */
  sendAudio(audio: { readonly producerId: string; readonly source: string }): Promise<void>
  openData(data: {
    readonly producerId: string
    readonly label: string
    readonly ordered: boolean
  }): Promise<void>
  sendText(producerId: string, text: string): Promise<void>
  sendBytes(producerId: string, bytes: ReadonlyArray<number>): Promise<void>
  /** On both sides, as an application does. */
  mute(producerId: string, muted: boolean): Promise<void>
  /** Of one stream for each encoding, as the browser counts what it has sent. */
  sent(producerId: string): Promise<
    ReadonlyArray<{
      readonly rid: string
      readonly packets: number
      readonly frames: number
      readonly width: number
      readonly codec: string
    }>
  >
  stop(producerId: string): Promise<void>
  restartIce(): Promise<void>
  connectionState(): string
  /** From its own side, without a word to the node but DTLS's own. */
  /** Higher layers than this are not sent any more. */
  bestLayer(producerId: string, layer: number): Promise<void>
  hangUp(): void
}

declare global {
  var ask: Ask
  var pagePeer: PagePeer
}

/** Draws until its track is stopped; a timer, because nobody sees this page and so nothing asks for its frames. */
const drawn = ({ fps, height, hue, text, width }: Picture): MediaStreamTrack => {
  const canvas = document.createElement("canvas")
  canvas.width = width
  canvas.height = height
  const context = canvas.getContext("2d")
  const [track] = canvas.captureStream(fps).getVideoTracks()
  if (context === null || track === undefined) throw new Error("this browser cannot draw")
  let frame = 0
  const draw = () => {
    const size = Math.round(height / 10)
    context.fillStyle = `hsl(${hue} 55% 35%)`
    context.fillRect(0, 0, width, height)
    context.fillStyle = `hsl(${hue} 80% 60%)`
    context.fillRect((frame * width) / 200 - Math.floor(frame / 200) * width, height - size, size * 2, size)
    context.fillStyle = "white"
    context.font = `${size}px sans-serif`
    context.fillText(text, size, size * 2)
    context.fillText(new Date().toISOString().slice(11, 23), size, size * 4)
    frame++
  }
  draw()
  const timer = setInterval(() => (track.readyState === "ended" ? clearInterval(timer) : draw()), 1000 / fps)
  return track
}

const camera = async ({ fps, height, width }: Picture): Promise<MediaStreamTrack> => {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width, height, frameRate: fps } })
  const [track] = stream.getVideoTracks()
  if (track === undefined) throw new Error("no camera")
  return track
}

const device = new Device()
const producers = new Map<string, Producer>()
const channels = new Map<string, DataProducer>()
let transport: Transport | undefined
let transportId = ""

const open = () => {
  if (transport === undefined) throw new Error("there is no transport")
  return transport
}
const of = <A>(map: ReadonlyMap<string, A>, id: string): A => {
  const found = map.get(id)
  if (found === undefined) throw new Error(`there is no ${id}`)
  return found
}

/** An event of mediasoup-client that waits for an answer. */
const answered = (work: () => Promise<unknown>, done: () => void, failed: (error: Error) => void): void =>
  void work().then(done, (error: unknown) =>
    failed(error instanceof Error ? error : new Error(String(error)))
  )

globalThis.pagePeer = {
  async load() {
    const { rtpCapabilities } = (await globalThis.ask("room.capabilities", {})) as {
      rtpCapabilities: Parameters<Device["load"]>[0]["routerRtpCapabilities"]
    }
    await device.load({ routerRtpCapabilities: rtpCapabilities })
    const codecs = device.sendRtpCapabilities.codecs ?? []
    return [...new Set(codecs.map(({ mimeType }) => mimeType))].filter((type) => !type.endsWith("/rtx"))
  },

  async open(id) {
    transportId = id
    const answer = (await globalThis.ask("webrtc.open", { transportId })) as Omit<TransportOptions, "id">
    const made = device.createSendTransport({ ...answer, id })
    made.on("connect", ({ dtlsParameters }: { dtlsParameters: DtlsParameters }, done, failed) =>
      answered(() => globalThis.ask("webrtc.connect", { transportId, dtlsParameters }), done, failed)
    )
    made.on("produce", ({ appData, kind, rtpParameters }, done, failed) =>
      answered(
        () => globalThis.ask("webrtc.produce", { transportId, kind, rtpParameters, ...appData }),
        () => done({ id: String(appData["producerId"]) }),
        failed
      )
    )
    made.on("producedata", ({ appData, label, protocol, sctpStreamParameters }, done, failed) =>
      answered(
        () =>
          globalThis.ask("webrtc.produceData", {
            transportId,
            sctpStreamParameters,
            label,
            protocol,
            ...appData
          }),
        () => done({ id: String(appData["producerId"]) }),
        failed
      )
    )
    transport = made
  },

  async sendVideo({ encodings, mimeType, picture, producerId, source }) {
    const track = picture.from === "camera" ? await camera(picture) : drawn(picture)
    const codec = device.sendRtpCapabilities.codecs?.find(
      (each) => each.mimeType.toLowerCase() === mimeType?.toLowerCase()
    )
    if (mimeType !== undefined && codec === undefined) throw new Error(`this browser cannot send ${mimeType}`)
    const producer = await open().produce({
      track,
      appData: { producerId, source },
      ...(encodings === undefined ? {} : { encodings: [...encodings] }),
      ...(codec === undefined ? {} : { codec }),
      // Without it Chromium begins with the smallest layer alone, and takes its time.
      codecOptions: { videoGoogleStartBitrate: 2000 }
    })
    producers.set(producerId, producer)
  },

  async sendAudio({ producerId, source }) {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true })
    const [track] = stream.getAudioTracks()
    if (track === undefined) throw new Error("no microphone")
    producers.set(producerId, await open().produce({ track, appData: { producerId, source } }))
  },

  async openData({ label, ordered, producerId }) {
    const options = { label, ordered, appData: { producerId }, ...(ordered ? {} : { maxRetransmits: 3 }) }
    const producer = await open().produceData(options)
    if (producer.readyState !== "open") await new Promise<void>((resolve) => producer.once("open", resolve))
    channels.set(producerId, producer)
  },

  async sendText(producerId, text) {
    of(channels, producerId).send(text)
  },

  async sendBytes(producerId, bytes) {
    of(channels, producerId).send(Uint8Array.from(bytes))
  },

  async mute(producerId, muted) {
    const producer = of(producers, producerId)
    if (muted) producer.pause()
    await globalThis.ask("webrtc.mute", { producerId, muted })
    if (!muted) producer.resume()
  },

  async sent(producerId) {
    const stats = [...(await of(producers, producerId).getStats()).values()] as ReadonlyArray<
      Record<string, unknown>
    >
    const codecs = new Map(stats.map((each) => [each["id"], String(each["mimeType"])]))
    return stats
      .filter(({ type }) => type === "outbound-rtp")
      .map((stream) => ({
        rid: typeof stream["rid"] === "string" ? stream["rid"] : "",
        packets: Number(stream["packetsSent"] ?? 0),
        frames: Number(stream["framesSent"] ?? 0),
        width: Number(stream["frameWidth"] ?? 0),
        codec: codecs.get(stream["codecId"]) ?? ""
      }))
      .toSorted((a, b) => a.rid.localeCompare(b.rid))
  },

  async bestLayer(producerId, layer) {
    await of(producers, producerId).setMaxSpatialLayer(layer)
  },

  async stop(producerId) {
    of(producers, producerId).close()
    await globalThis.ask("webrtc.closeProducer", { producerId })
  },

  async restartIce() {
    const { iceParameters } = (await globalThis.ask("webrtc.restartIce", { transportId })) as {
      iceParameters: TransportOptions["iceParameters"]
    }
    await open().restartIce({ iceParameters })
  },

  connectionState: () => open().connectionState,
  hangUp: () => open().close()
}
