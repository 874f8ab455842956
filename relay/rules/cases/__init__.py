"""`relay test` and `relay backtest`: what rules should say of certain chats, and what two rules files say of the same ones."""
