"""python3 publish.py EXCHANGE TYPE SOURCE ID DATA
publishes a message and exits with 0 when a queue has stored it."""
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
    channel.confirm_delivery()  # Publishing waits for the confirm, raises if no queue is bound.
    channel.basic_publish(exchange, type, data.encode(), properties, mandatory=True)
