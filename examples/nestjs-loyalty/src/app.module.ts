import { Module } from "@nestjs/common";
import { ApiController } from "./api.controller";
import { Broker } from "./broker";
import { Loyalty } from "./loyalty";
import { Relay } from "./relay";
import { Store } from "./store";

@Module({
  controllers: [ApiController],
  providers: [Store, Broker, Loyalty, Relay],
})
export class AppModule {}
