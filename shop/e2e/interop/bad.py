"""python3 bad.py TYPE: publishes one invalid message of each kind to the exchange of commands. `cloudEvents:subject`
names the kind."""
import os, sys
import pika

route = sys.argv[1]
GOOD = {"specversion": "1.0", "source": "bad.py", "type": route}
JSON = {"content_type": "application/json"}


def without(name):
    return {key: value for key, value in GOOD.items() if key != name}


# By kind: the attributes beside id and subject, the properties, the body.
CASES = {
    "no id": (GOOD, JSON, b"{}"),
    "no source": (without("source"), JSON, b"{}"),
    "another specversion": ({**GOOD, "specversion": "0.3"}, JSON, b"{}"),
    "bytes for a source": ({**GOOD, "source": b"\xff\xfe"}, JSON, b"{}"),
    "a table for a type": ({**GOOD, "type": {"name": route}}, JSON, b"{}"),
    "another content type": (GOOD, {"content_type": "application/xml"}, b"{}"),
    "compressed": (GOOD, {**JSON, "content_encoding": "gzip"}, b"\x1f\x8b\x08\x00"),
    "garbage": (GOOD, JSON, b"\x00\xffnot JSON"),
    "empty": (GOOD, JSON, b""),
    "does not fit": (GOOD, JSON, b'{"order_id": 7}'),
    "another version": ({**GOOD, "type": route[:-1] + "9"}, JSON, b"{}"),
    "ten megabytes": (GOOD, JSON, b'"' + b"x" * (10 << 20) + b'"'),
}

with pika.BlockingConnection(pika.URLParameters(os.environ["WINGBEAT_BROKER"])) as connection:
    channel = connection.channel()
    channel.confirm_delivery()
    for case, (attributes, properties, body) in CASES.items():
        attributes = {**attributes, "subject": case}
        if case != "no id":
            attributes["id"] = f"bad {case}"
        headers = {f"cloudEvents:{name}": value for name, value in attributes.items()}
        properties = pika.BasicProperties(delivery_mode=2, headers=headers, **properties)
        channel.basic_publish("wingbeat.commands", route, body, properties, mandatory=True)
