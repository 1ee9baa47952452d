/**
 * The page of the cart and the checkout.
 * @module
 */
import { startCartLines } from "./cart-lines.js";
import { showSums, startCheckout } from "./checkout.js";
import "./page.js";
import { startPromo } from "./promo.js";

startCartLines();
startPromo(showSums);
startCheckout();
