"""A control client written from docs/control-api.md alone, in Python's standard library: NATS over a socket, MessagePack by hand.

    python3 client.py HOST:PORT CLUSTER

It opens a room, sends RTP into it and receives it again, records it, and asks for what must be refused. What it saw is its last line of
output, as JSON. It fails with an exception when an answer is not what the page says.
"""

import json
import random
import socket
import struct
import sys
import time

# ---- MessagePack, as far as the page needs it ----


def pack(value):
    if value is True:
        return b"\xc3"
    if value is False:
        return b"\xc2"
    if isinstance(value, int):
        if 0 <= value < 0x80:
            return struct.pack("B", value)
        if 0 <= value <= 0xFFFFFFFF:
            return b"\xce" + struct.pack(">I", value)
        return b"\xd3" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        text = value.encode()
        if len(text) < 32:
            return struct.pack("B", 0xA0 | len(text)) + text
        return b"\xda" + struct.pack(">H", len(text)) + text
    if isinstance(value, dict):
        fields = b"".join(pack(key) + pack(field) for key, field in value.items())
        return struct.pack("B", 0x80 | len(value)) + fields
    raise TypeError(type(value))


class Unpacker:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        size = struct.calcsize(form)
        (value,) = struct.unpack(form, self.data[self.at : self.at + size])
        self.at += size
        return value

    def text(self, size):
        self.at += size
        return self.data[self.at - size : self.at].decode()

    def array(self, size):
        return [self.value() for _ in range(size)]

    def map(self, size):
        return {self.value(): self.value() for _ in range(size)}

    def value(self):
        head = self.take(">B")
        if head < 0x80:
            return head
        if head < 0x90:
            return self.map(head & 0x0F)
        if head < 0xA0:
            return self.array(head & 0x0F)
        if head < 0xC0:
            return self.text(head & 0x1F)
        if head >= 0xE0:
            return head - 0x100
        numbers = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"}
        numbers |= {0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
        if head in numbers:
            return self.take(numbers[head])
        sized = {0xD9: (">B", self.text), 0xDA: (">H", self.text), 0xDB: (">I", self.text)}
        sized |= {0xDC: (">H", self.array), 0xDD: (">I", self.array)}
        sized |= {0xDE: (">H", self.map), 0xDF: (">I", self.map)}
        if head in sized:
            form, read = sized[head]
            return read(self.take(form))
        return {0xC0: None, 0xC2: False, 0xC3: True}[head]


# ---- NATS: one connection, one inbox prefix of its own ----


class NoResponders(Exception):
    """Nobody listens now: not carried out."""


class Nats:
    def __init__(self, address):
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.buffer = b""
        self.inbox = f"_INBOX_control.{random.getrandbits(64):016x}"
        self.asked = 0
        assert self.line().startswith(b"INFO ")
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "lang": "python"}
        self.write(b"CONNECT " + json.dumps(options).encode() + b"\r\n")
        self.write(f"SUB {self.inbox}.* 1\r\nPING\r\n".encode())
        while self.line() != b"PONG":
            pass

    def write(self, data):
        self.socket.sendall(data)

    def more(self):
        """Waits for as long as the socket's time-out says."""
        chunk = self.socket.recv(65536)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        self.buffer += chunk

    def read(self, size):
        # Its beginning is there: what is left comes at once.
        self.socket.settimeout(5)
        while len(self.buffer) < size:
            self.more()
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def line(self):
        while b"\r\n" not in self.buffer:
            self.more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def request(self, subject, data, seconds):
        """The first answer; sent once more every 2.5 s until it has come."""
        self.asked += 1
        reply = f"{self.inbox}.{self.asked}"
        publish = f"PUB {subject} {reply} {len(data)}\r\n".encode() + data + b"\r\n"
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.write(publish)
            again = time.monotonic() + min(left, 2.5)
            while (wait := again - time.monotonic()) > 0:
                self.socket.settimeout(wait)
                try:
                    arrived = self.message()
                except TimeoutError:
                    break
                if arrived and arrived[0] == reply:
                    if arrived[1].startswith(b"NATS/1.0 503"):
                        raise NoResponders(subject)
                    return arrived[2]
        raise TimeoutError(subject)

    def message(self):
        """One message as subject, headers, data; None for what else a server says."""
        parts = self.line().split(b" ")
        if parts[0] == b"PING":
            self.write(b"PONG\r\n")
        if parts[0] == b"MSG":
            data = self.read(int(parts[-1]) + 2)[:-2]
            return parts[1].decode(), b"", data
        if parts[0] == b"HMSG":
            headers, size = int(parts[-2]), int(parts[-1])
            data = self.read(size + 2)[:-2]
            return parts[1].decode(), data[:headers], data[headers:]
        return None


# ---- The control API ----


class Refused(Exception):
    def __init__(self, error):
        super().__init__(error["message"])
        self.tag, self.retry, self.error = error["_tag"], error["retry"], error


class Control:
    def __init__(self, address, cluster):
        self.nats, self.root = Nats(address), f"ebb.v1.{cluster}.ctl."

    def once(self, command, **fields):
        answer = Unpacker(self.nats.request(self.root + command, pack(fields), 5)).value()
        if list(answer) == ["ok"]:
            return answer["ok"]
        if list(answer) == ["error"]:
            raise Refused(answer["error"])
        raise AssertionError(f"neither ok nor error: {answer}")

    def call(self, command, **fields):
        deadline = time.monotonic() + 30
        while True:
            try:
                return self.once(command, **fields)
            except (Refused, NoResponders, TimeoutError) as failure:
                if isinstance(failure, Refused) and failure.retry == "never":
                    raise
                if time.monotonic() > deadline:
                    raise
                time.sleep(random.uniform(0.15, 0.25))

    def refusal(self, command, **fields):
        try:
            self.once(command, **fields)
        except Refused as refused:
            return {"tag": refused.tag, "retry": refused.retry}
        raise AssertionError(f"{command} was not refused")


# ---- What it does with it ----

SSRC, PAYLOAD_TYPE, PACKETS = 0x11223344, 111, 100


def udp():
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind(("127.0.0.1", 0))
    opened.settimeout(5)
    return opened


def opus_packet(n):
    """20 ms of silence in Opus, in RTP (RFC 3550, RFC 7587)."""
    header = struct.pack(">BBHII", 0x80, PAYLOAD_TYPE, 1000 + n, 960 * n, SSRC)
    return header + b"\xfc\xff\xfe"


def media(control, room):
    mic = {"producerId": "mic", "kind": "audio", "codec": "opus", "payloadType": PAYLOAD_TYPE, "ssrc": SSRC}
    producer = control.call("producer.add", roomId=room, **mic)
    assert control.call("producer.add", roomId=room, **mic) == producer
    receiver = udp()
    there = {"ip": "127.0.0.1", "port": receiver.getsockname()[1]}
    consumer = control.call("consumer.add", roomId=room, consumerId="ear", producerId="mic", **there)
    started = control.call("recording.start", recordingId=f"{room}-r", roomId=room)
    again = control.call("recording.start", recordingId=f"{room}-r", roomId=room)
    assert started["created"] and not again["created"]
    assert started["recording"]["state"] == "Capturing", started

    sender = udp()
    received = []
    for n in range(PACKETS):
        sender.sendto(opus_packet(n), (producer["ip"], producer["port"]))
        received.append(rtp(receiver, consumer))
    info = control.call("room.get", roomId=room)
    assert info["producers"][0]["packetsReceived"] == PACKETS, info
    assert control.call("recording.get", recordingId=f"{room}-r")["packets"] == PACKETS
    stopped = control.call("recording.stop", recordingId=f"{room}-r", reason="enough")
    assert stopped["state"] in ("Sealing", "Computed"), stopped
    control.call("consumer.close", roomId=room, consumerId="ear")
    control.call("producer.close", roomId=room, producerId="mic")
    return received


def rtp(receiver, consumer):
    """The RTP timestamp of the next packet that is one, and whose it must be."""
    while True:
        packet = receiver.recv(2048)
        if 192 <= packet[1] <= 223:
            continue  # RTCP (RFC 5761)
        assert packet[1] & 0x7F == consumer["payloadType"], consumer
        timestamp, ssrc = struct.unpack(">II", packet[4:12])
        assert ssrc == consumer["ssrc"], consumer
        return timestamp


def computed(control, recording):
    while True:
        info = control.call("recording.get", recordingId=recording)
        assert info["state"] != "Failed", info
        if info["state"] == "Computed":
            return info
        time.sleep(0.1)


def listed(control, command, items, **first):
    """Every page."""
    page = control.call(command, **first)
    found = page[items]
    while "next" in page:
        page = control.call(command, **{**first, "after": page["next"]})
        found += page[items]
    return found


def main(address, cluster):
    control = Control(address, cluster)
    room = "python-1"
    seen = {}
    seen["created"] = control.call("room.create", roomId=room, options={"metadata": "ä"})["created"]
    seen["createdAgain"] = control.call("room.create", roomId=room, options={"metadata": "ä"})["created"]
    seen["otherOptions"] = control.refusal("room.create", roomId=room, options={"metadata": "b"})
    seen["noId"] = control.refusal("room.create", roomId="a.b")
    seen["nobody"] = control.refusal("room.get", roomId="nowhere")
    seen["unknown"] = control.refusal("room.explode", roomId=room)

    sent = [960 * n for n in range(PACKETS)]
    received = media(control, room)
    seen["sent"], seen["received"] = len(sent), len(received)
    # Timestamps may begin anywhere, and go on as they were sent.
    seen["inOrder"] = [(at - received[0]) & 0xFFFFFFFF for at in received] == sent
    seen["recording"] = computed(control, f"{room}-r")

    for n in range(3):
        control.call("room.create", roomId=f"python-page-{n}")
    seen["rooms"] = [each["roomId"] for each in listed(control, "room.list", "rooms", limit=2)]
    nodes = control.call("node.list")["nodes"]
    node = nodes[0]["nodeId"]
    status = control.call("node.status", nodeId=node)
    seen["status"] = {key: status[key] for key in ("nodeId", "life", "admission", "control")}
    seen["cordon"] = control.call("node.cordon", nodeId=node, by="python", reason="to see")
    seen["uncordon"] = control.call("node.uncordon", nodeId=node, by="python", reason="to see")

    for each in seen["rooms"]:
        control.call("room.close", roomId=each, reason="over")
    seen["closedTwice"] = control.refusal("room.close", roomId=room)
    control.call("node.drain", nodeId=node, by="python", reason="over")
    print(json.dumps(seen))


main(*sys.argv[1:])
