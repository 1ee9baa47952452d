import { Controller, Get, Param, ParseUUIDPipe, ServiceUnavailableException } from "@nestjs/common";
import { Broker } from "./broker";
import { Store } from "./store";

@Controller()
export class ApiController {
  constructor(
    private readonly store: Store,
    private readonly broker: Broker,
  ) {}

  /** Answers 200 while the process runs. */
  @Get("healthz")
  health(): { status: string } {
    return { status: "ok" };
  }

  /** Answers 200 while the process consumes and its store answers. */
  @Get("readyz")
  async ready(): Promise<{ status: string }> {
    const store = await this.store.pool.query("SELECT 1").then(() => true, () => false);
    if (!store || !this.broker.isReady) {
      throw new ServiceUnavailableException({ store, broker: this.broker.isReady });
    }
    return { status: "ready" };
  }

  @Get("users/:id/points")
  async points(@Param("id", ParseUUIDPipe) id: string): Promise<{ user_id: string; points: number }> {
    const { rows } = await this.store.pool.query("SELECT points FROM loyalty.balance WHERE user_id = $1", [id]);
    return { user_id: id, points: Number(rows[0]?.points ?? 0) };
  }
}
