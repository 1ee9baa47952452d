"""python3 publish.py EXCHANGE TYPE SOURCE ID DATA: sends a message, and ends with 0 when a queue has it for good."""
import datetime, os, sys
import pika

exchange, type, source, id, data = sys.argv[1:]
now = datetime.datetime.now(datetime.timezone.utc).isoformat()
attributes = {"specversion": "1.0", "id": id, "source": source, "type": type, "time": now}
headers = {f"cloudEvents:{name}": value for name, value in attributes.items()}
properties = pika.BasicProperties(content_type="application/json", delivery_mode=2,
                                  message_id=id, headers=headers)
with pika.BlockingConnection(pika.URLParameters(os.environ["WINGBEAT_BROKER"])) as connection:
    channel = connection.channel()
    channel.confirm_delivery()  # From now on publishing waits, and raises if no queue took the message.
    channel.basic_publish(exchange, type, data.encode(), properties, mandatory=True)
